package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/boltfile"
)

const freedEntries = 200 // of eventsAnEntry events each

// stormFile makes a file that had a storm, and gives its size: most of it is free once the journal keeps only few.
func stormFile(t *testing.T, path string) int64 {
	t.Helper()
	n := newTestNode(t, func(o *Options) { o.Path, o.Entries = path, 1_000_000 })
	for i := range uint64(freedEntries) {
		n.entry(i+1, slices.Repeat([]Event{crash(int(i))}, eventsAnEntry)...)
	}
	n.await(freedEntries)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return fileSize(t, path)
}

// soon lets a journal compact as soon as it has pruned.
func soon(o *Options) { o.Entries, o.compactAfter, o.compactFree = 500, 100*time.Millisecond, 1<<20 }

// TestTheFileShrinksAfterAStorm: readers and the writer go on meanwhile, and what is kept stays.
func TestTheFileShrinksAfterAStorm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	peak := stormFile(t, path)
	n := newTestNode(t, func(o *Options) { soon(o); o.Path = path })
	n.until("it is pruned", func() bool { return n.Stats().Entries == 500 })
	want := n.ids(Query{})
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := n.Events(context.Background(), Query{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	n.until("it is compacted", func() bool { return n.Stats().Compactions > 0 })
	cancel()
	readers.Wait()
	if got := n.ids(Query{}); !slices.Equal(got, want) {
		t.Errorf("%d events became %d", len(want), len(got))
	}
	if size := fileSize(t, path); size > peak/2 || n.Stats().File.Size != size {
		t.Errorf("the file had %d bytes and has %d; stats %+v", peak, size, n.Stats())
	}
	n.entry(freedEntries+1, crash(1))
	n.await(freedEntries + 1)
	want = n.ids(Query{})
	n.restart()
	n.until("what is stored", func() bool { return slices.Equal(n.ids(Query{}), want) })
	if n.Stats().Replaced > 0 {
		t.Error("the copy was set aside as damaged")
	}
	t.Logf("%d KiB became %d KiB", peak>>10, fileSize(t, path)>>10)
}

// TestNoRoomForACopy: the file stays as it is.
func TestNoRoomForACopy(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("cannot mount a tmpfs, and HM_TEST_REQUIRE=all asks for it: run as root: %v", err)
		}
		t.Skipf("a small disk needs a tmpfs of its own, which only root may mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "journal.db")
	stormFile(t, path)
	lines := &logText{}
	n := newTestNode(t, func(o *Options) { soon(o); o.Path, o.Logger = path, slog.New(slog.NewTextHandler(lines, nil)) })
	n.until("it gives up", func() bool { return strings.Contains(lines.String(), errNoCopyRoom.Error()) })
	if s := n.Stats(); s.Err != nil || s.Compactions > 0 || s.Entries != 500 {
		t.Errorf("the stats are %+v", s)
	}
	if _, err := os.Stat(path + copySuffix); !os.IsNotExist(err) {
		t.Errorf("a copy is left: %v", err)
	}
}

// logText keeps what several goroutines log.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// compacts is the environment variable with the path of the file that a process of this test compacts, and the step after
// which it kills itself.
const compacts = "HM_TEST_JOURNAL_COMPACTS"

// TestCompacterThatIsKilled is the process that TestAKilledCompactionLosesNoEvent starts.
func TestCompacterThatIsKilled(t *testing.T) {
	path, step, ok := strings.Cut(os.Getenv(compacts), "=")
	if !ok {
		return
	}
	stepDone = func(done string) {
		if done == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	n := &testNode{t: t, opts: Options{
		Path: path, Node: "hm-0", Now: func() app.Time { return 5_000 }, Logger: slog.New(slog.DiscardHandler), linger: time.Millisecond,
	}}
	soon(&n.opts)
	n.open()
	n.until("it is compacted", func() bool { return n.Stats().Compactions > 0 })
	fmt.Println("compacted")
}

// TestAKilledCompactionLosesNoEvent: a process is killed after each step of a compaction. The next start finds an undamaged
// file with every event.
func TestAKilledCompactionLosesNoEvent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	storm := filepath.Join(t.TempDir(), "journal.db")
	stormFile(t, storm)
	whole, err := os.ReadFile(storm)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"copied", "renamed", "none"} {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(self, "-test.run=^TestCompacterThatIsKilled$")
		child.Env = append(os.Environ(), compacts+"="+path+"="+step)
		out, _ := child.CombinedOutput()
		if ended := strings.Contains(string(out), "compacted"); ended != (step == "none") {
			t.Fatalf("step %q: the process says %s", step, out)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = boltfile.Check(f, func(string, []byte, []byte) error { return nil })
		if _ = f.Close(); err != nil {
			t.Errorf("step %q: %v", step, err)
		}
		if shrunk := fileSize(t, path) < int64(len(whole))/2; shrunk != (step != "copied") {
			t.Errorf("step %q: the file has %d bytes, it had %d", step, fileSize(t, path), len(whole))
		}
		n := newTestNode(t, func(o *Options) { o.Path, o.Entries = path, 500 })
		n.until("it is pruned", func() bool { return n.Stats().Entries == 500 })
		events := n.events(Query{})
		if last := events[len(events)-1].ID.Index; len(events) != 500 || last != freedEntries || n.Stats().Replaced > 0 {
			t.Errorf("step %q: %d events up to entry %d; stats %+v", step, len(events), last, n.Stats())
		}
		if _, err := os.Stat(path + copySuffix); !os.IsNotExist(err) {
			t.Errorf("step %q: the next start left the copy: %v", step, err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}
