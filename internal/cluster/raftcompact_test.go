package cluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// logEntry is an entry with a checksum, of which the content follows from the index.
func logEntry(index uint64) *raft.Log {
	data := make([]byte, 300+index%700)
	for i := range data {
		data[i] = byte(index>>(i%8)) ^ byte(i)
	}
	l := &raft.Log{Index: index, Term: 1 + index/1000, Type: raft.LogCommand, Data: data}
	sealEntry(l)
	return l
}

func storeEntries(t testing.TB, f *raftFile, from, to uint64) {
	t.Helper()
	for from <= to {
		var batch []*raft.Log
		for ; from <= to && len(batch) < 100; from++ {
			batch = append(batch, logEntry(from))
		}
		if err := f.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
	}
}

// stormStore gives a store that had a storm: most entries were deleted again.
func stormStore(t testing.TB, path string) *raftFile {
	t.Helper()
	f, err := openRaftFile(path)
	if err != nil {
		t.Fatal(err)
	}
	storeEntries(t, f, 1, 6_000)
	if err := errors.Join(f.DeleteRange(1, 5_000), f.SetUint64([]byte(valueTerm), 7), f.Set([]byte(valueVoteFor), []byte("hm-1"))); err != nil {
		t.Fatal(err)
	}
	return f
}

// wantEntries requires that a file is undamaged and has exactly these entries.
func wantEntries(t testing.TB, path string, first, last uint64) {
	t.Helper()
	c, err := checkBoltFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := openRaftFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := uint64(len(c.entries)); n != last-first+1 || c.entries[0] != first || c.entries[n-1] != last {
		t.Errorf("the file has %d entries from %d to %d, want %d to %d", n, c.entries[0], c.entries[n-1], first, last)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := f.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if want := logEntry(i); verifyEntry(i, &l) != nil || !sameEntry(&l, want) {
			t.Fatalf("entry %d differs", i)
		}
	}
}

func goOn() error { return nil }

// TestCompactWhileRaftWrites: everything that was stored before, during and after the copy is there, and read all the
// while; so are the values.
func TestCompactWhileRaftWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	f := stormStore(t, path)
	before, err := f.use()
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		last := uint64(6_000)
		for {
			select {
			case <-stop:
				done <- last
				return
			default:
			}
			last++
			var l raft.Log
			if err := errors.Join(f.StoreLog(logEntry(last)), f.SetUint64([]byte(valueTerm), last), f.GetLog(last, &l), f.GetLog(5_001, &l)); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for range 3 {
		if err := f.compact(5_001, goOn); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	last := <-done
	after, err := f.use()
	if err != nil {
		t.Fatal(err)
	}
	if after.Size > before.Size/2 || after.Free > before.Free/4 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	term, err := f.GetUint64([]byte(valueTerm))
	vote, errVote := f.Get([]byte(valueVoteFor))
	if err != nil || errVote != nil || term != last || string(vote) != "hm-1" {
		t.Errorf("the term is %d, want %d, the vote is for %s: %v %v", term, last, vote, err, errVote)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, path, 5_001, last)
	t.Logf("%d KiB, %d of them free, became %d KiB; %d entries were written meanwhile", before.Size>>10, before.Free>>10, after.Size>>10, last-6_000)
}

// TestCompactGivesUp: what happens meanwhile ends the copying and leaves the file as it was.
func TestCompactGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(f *raftFile)
		stop      error
		want      error
	}{
		"entries are deleted": {func(f *raftFile) { _ = f.DeleteRange(5_001, 5_500) }, nil, errLogChanged},
		"the end is deleted":  {func(f *raftFile) { _ = f.DeleteRange(5_900, 6_000) }, nil, errLogChanged},
		"the node closes":     {func(*raftFile) {}, errClosing, errClosing},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "raft.db")
			f := stormStore(t, path)
			once := false
			err := f.compact(5_001, func() error {
				if !once {
					once = true
					c.meanwhile(f)
				}
				return c.stop
			})
			if !errors.Is(err, c.want) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
			if _, err := os.Stat(path + copySuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the copy is left: %v", err)
			}
			first, last := uint64(5_001), uint64(6_000)
			if name == "entries are deleted" {
				first = 5_501
			} else if name == "the end is deleted" {
				last = 5_899
			}
			storeEntries(t, f, last+1, last+10)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			wantEntries(t, path, first, last+10)
		})
	}
}

// TestNothingIsWrittenIfTheNewNameIsNotOnDisk: after that nobody knows which of the two files the next start finds.
func TestNothingIsWrittenIfTheNewNameIsNotOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f := stormStore(t, filepath.Join(dir, "raft.db"))
	defer f.Close()
	stepDone = func(step string) {
		if step == "renamed" {
			if err := os.Rename(dir, dir+"-away"); err != nil { // so the directory cannot be synced
				t.Error(err)
			}
		}
	}
	defer func() { stepDone = func(string) {} }()
	var unsure replacedUnsure
	if err := f.compact(5_001, goOn); !errors.As(err, &unsure) {
		t.Errorf("the error is %v", err)
	}
	if err := f.StoreLog(logEntry(6_001)); !errors.As(err, &unsure) {
		t.Errorf("an entry is stored: %v", err)
	}
	if err := f.SetUint64([]byte(valueTerm), 8); !errors.As(err, &unsure) {
		t.Errorf("a term is stored: %v", err)
	}
}

// compacts is the environment variable with the path of the store that a process of this test compacts, and the step
// after which it kills itself.
const compacts = "HM_TEST_COMPACTS"

// TestCompacterThatIsKilled is the process that TestAKilledCompactionLosesNothing starts. It writes and compacts, and
// says what is stored.
func TestCompacterThatIsKilled(t *testing.T) {
	path, step, ok := strings.Cut(os.Getenv(compacts), "=")
	if !ok {
		return
	}
	f, err := openRaftFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last, err := f.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var copying atomic.Bool
	stepDone = func(done string) {
		if done == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	go func() {
		for {
			copying.Store(true)
			if err := f.compact(5_001, goOn); err != nil {
				fmt.Println("failed:", err)
			}
		}
	}()
	for i := last + 1; ; i++ {
		if err := errors.Join(f.StoreLog(logEntry(i)), f.SetUint64([]byte(valueTerm), i)); err != nil {
			fmt.Println("failed:", err)
		}
		if copying.Load() {
			fmt.Println("stored", i)
		}
	}
}

// TestAKilledCompactionLosesNothing: a process is killed after each step of the compaction, and at random moments, while
// it stores entries and terms. Each time the file is whole and has everything that was acknowledged.
func TestAKilledCompactionLosesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "raft.db")
	if err := stormStore(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	last := uint64(6_000)
	for _, step := range []string{"some", "copied", "renamed", "synced", "", "", ""} {
		child := exec.Command(self, "-test.run=^TestCompacterThatIsKilled$")
		child.Env = append(os.Environ(), compacts+"="+path+"="+step)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		stored := last
		lines := bufio.NewScanner(out)
		if step == "" {
			if lines.Scan() {
				_, _ = fmt.Sscanf(lines.Text(), "stored %d", &stored)
			}
			time.Sleep(time.Duration(rnd.Int64N(int64(60 * time.Millisecond))))
			_ = child.Process.Kill()
		}
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "failed") {
				t.Errorf("step %q: %s", step, lines.Text())
			}
			_, _ = fmt.Sscanf(lines.Text(), "stored %d", &stored) // other lines are the test's own
		}
		_ = child.Wait()
		f, err := openRaftFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, errLast := f.LastIndex()
		term, errTerm := f.Get([]byte(valueTerm))
		if err := errors.Join(errLast, errTerm, f.Close()); err != nil {
			t.Fatal(err)
		}
		if n := binary.BigEndian.Uint64(term); got < stored || got > stored+1 || n < stored && stored > 6_000 {
			t.Errorf("step %q: the last entry is %d and the term %d, acknowledged are %d", step, got, n, stored)
		}
		if _, err := os.Stat(path + copySuffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("step %q: the next start left the copy: %v", step, err)
		}
		wantEntries(t, path, 5_001, got)
		last = got
	}
}

// TestAProcessThatWaitsForAReplacedFileIsRefused: it has a file that has no name any more.
func TestAProcessThatWaitsForAReplacedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	f := stormStore(t, path)
	defer f.Close()
	opened := make(chan error)
	go func() {
		second, err := openRaftFile(path)
		if err == nil {
			err = errors.Join(errors.New("it was opened"), second.Close())
		}
		opened <- err
	}()
	time.Sleep(50 * time.Millisecond) // it waits for the lock, for up to a second
	if err := f.compact(5_001, goOn); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err == nil || err.Error() != "timeout" {
		t.Errorf("a second process gets %v", err)
	}
}

// TestNodesCompactTheirStores: after a storm the files of all nodes shrink by themselves, under load, and nothing is lost.
func TestNodesCompactTheirStores(t *testing.T) {
	c := startCluster(t, 3, func(i int, o *Options) {
		o.SnapshotInterval, o.SnapshotThreshold, o.trailingLogs = 20*time.Millisecond, 64, 16
		o.compactAfter, o.compactFree = 400*time.Millisecond, 256<<10
	})
	for i := range 300 {
		c.propose(wide(i))
	}
	peak := int64(0)
	for _, n := range c.nodes {
		peak = max(peak, n.Stats().File.Size)
	}
	i := 0
	defer func() {
		for _, n := range c.running() {
			t.Logf("%s has %+v", n.opts.ID, n.Stats())
		}
	}()
	eventually(t, "all files are smaller", func() bool {
		i++
		c.propose(dea(1000 + i%10))
		for _, n := range c.nodes {
			if s := n.Stats(); s.Compactions == 0 || s.File.Size > peak/2 {
				return false
			}
		}
		return true
	})
	c.propose(dea(2000))
	s := c.converged()
	t.Logf("%d KiB became %d KiB, %d proposals meanwhile", peak>>10, c.nodes[0].Stats().File.Size>>10, i)
	term := c.leader().Leadership().Term
	for i := range c.nodes {
		c.close(i)
	}
	for i := range c.nodes {
		c.start(i)
	}
	if after := c.converged(); after.Hash() != s.Hash() {
		t.Errorf("after the restart the hash is %s, it was %s", after.Hash(), s.Hash())
	}
	if now := c.leader().Leadership().Term; now <= term {
		t.Errorf("after the restart the term is %d, it was %d", now, term)
	}
}
