package journal

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/boltfile"
)

// writesTo is the environment variable with the path of the file that a process of this test writes.
const writesTo = "HM_TEST_JOURNAL_WRITES_TO"

// eventsAnEntry is how many events each entry of the killed process has, so that a transaction writes many pages.
const eventsAnEntry = 50

// TestWriterThatIsKilled is the process that TestAKilledProcessLosesNothingThatWasStored kills. It applies entries from
// the first one on, as a restarted node does, and says of each when it is stored.
func TestWriterThatIsKilled(t *testing.T) {
	path := os.Getenv(writesTo)
	if path == "" {
		return
	}
	n := &testNode{t: t, opts: Options{
		Path: path, Node: "hm-0", Entries: 1_000_000, linger: time.Millisecond,
		Now: func() app.Time { return 5_000 }, Logger: slog.New(slog.DiscardHandler),
	}}
	n.open()
	for i := uint64(1); ; i++ {
		n.entry(i, slices.Repeat([]Event{crash(int(i))}, eventsAnEntry)...)
		if i%10 == 0 {
			n.await(i)
			fmt.Println("stored", i)
		}
	}
}

// TestAKilledProcessLosesNothingThatWasStored: a process is killed again and again while it writes the file. Each time the
// file is undamaged, and has every event up to the entry that the process called stored.
func TestAKilledProcessLosesNothingThatWasStored(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	rnd := rand.New(rand.NewPCG(1, 1))
	stored := uint64(0)
	for kill := range 8 {
		child := exec.Command(self, "-test.run=^TestWriterThatIsKilled$")
		child.Env = append(os.Environ(), writesTo+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		until, more := stored+10, uint64(10+10*rnd.IntN(10)) // it first applies again what is stored
		for stored < until+more && lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "stored %d", &stored) // other lines are the test's own
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(5 * time.Millisecond)))) // so that it is killed at any moment
		_ = child.Process.Kill()
		for lines.Scan() { // what it said before it died
			_, _ = fmt.Sscanf(lines.Text(), "stored %d", &stored)
		}
		_ = child.Wait()
		wantWhole(t, path, kill, stored)
	}
}

// wantWhole requires that a file is undamaged and has every event of the entries up to an index, and of no later entry
// only a part.
func wantWhole(t *testing.T, path string, kill int, stored uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := boltfile.Check(f, func(string, []byte, []byte) error { return nil }); err != nil {
		t.Fatalf("after kill %d: %v", kill, err)
	}
	n := newTestNode(t, func(o *Options) { o.Path, o.Entries = path, 1_000_000 })
	defer n.Close()
	each := map[uint64]int{}
	for q := (Query{}); ; {
		events, more, err := n.Events(context.Background(), q)
		if err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
		for i := range events {
			each[events[i].ID.Index]++
			q.After = events[i].ID
		}
		if !more {
			break
		}
	}
	if n.Stats().Replaced > 0 {
		t.Fatalf("after kill %d the file was set aside", kill)
	}
	for i := uint64(1); i <= stored || each[i] > 0; i++ {
		if each[i] != eventsAnEntry {
			t.Fatalf("after kill %d: entry %d has %d events, want %d; up to %d all are stored", kill, i, each[i], eventsAnEntry, stored)
		}
		delete(each, i)
	}
	if len(each) > 0 {
		t.Errorf("after kill %d there are events of %d entries after a gap", kill, len(each))
	}
}
