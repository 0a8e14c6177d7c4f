//go:build linux

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a small file system. If that is not allowed the test is skipped, or fails if HM_TEST_REQUIRE=all is
// set.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("cannot mount a tmpfs, and HM_TEST_REQUIRE=all asks for it: run as root: %v", err)
		}
		t.Skipf("a full disk needs a tmpfs of its own, which only root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// startOnDisk starts three nodes, the first one with its data in dir, and records a DEA.
func startOnDisk(t *testing.T, dir string) *testCluster {
	t.Helper()
	c := startCluster(t, 3, func(i int, o *Options) {
		if i == 0 {
			o.DataDir = dir
		}
	})
	c.propose(dea(1))
	c.converged()
	return c
}

// fillDisk takes all room on the disk.
func fillDisk(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	fillUp(t, file)
	return file
}

func TestStartOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "24m")
	c := newCluster(t, 1, func(_ int, o *Options) { o.DataDir = filepath.Join(dir, "hm") })
	refused := func(when string) {
		t.Helper()
		l := newCluster(t, 1, nil)
		o := c.opts[0]
		o.listener = l.opts[0].listener
		n, err := Open(o)
		if err == nil {
			_ = n.Close()
			t.Fatalf("%s: a node starts on a full disk", when)
		}
		if !strings.Contains(err.Error(), "node.data_dir: ") || !strings.Contains(err.Error(), "the disk is full") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %q, want one sentence that says that the disk is full", when, err)
		}
	}
	if err := os.Mkdir(c.opts[0].DataDir, 0o750); err != nil {
		t.Fatal(err)
	}
	filler := fillDisk(t, dir)
	refused("the first start")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(dea(1))
	c.close(0)
	filler = fillDisk(t, dir)
	refused("a later start")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.propose(dea(2))
	if _, ok := c.leader().View().DEA(deaID(1)); !ok {
		t.Error("what was recorded is lost")
	}
}

// The disk of a running node fills up. The others go on, and the node returns by itself when there is room.
func TestFullDiskWhileRunning(t *testing.T) {
	for name, leads := range map[string]bool{"under the leader": true, "under a follower": false} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, "48m")
			c := startOnDisk(t, dir)
			n := c.nodes[0]
			eventually(t, "the node leads, or another node does", func() bool {
				l := c.leader()
				if (l == n) != leads {
					_ = l.Transfer(bounded(t))
				}
				return (c.leader() == n) == leads
			})
			filler := fillDisk(t, dir)
			i := 100
			eventually(t, "the disk of the node is full", func() bool {
				i++
				d := bigDEA(deaID(i), 5000)
				c.propose(d)
				_, err := n.DiskTrouble()
				return errors.Is(err, syscall.ENOSPC)
			})
			// A snapshot that finds no room leaves nothing behind.
			snapshots := func() int {
				entries, err := os.ReadDir(filepath.Join(dir, "raft", "snapshots"))
				if err != nil {
					t.Fatal(err)
				}
				return len(entries)
			}
			before := snapshots()
			if sink, err := n.stores.snapshots.Create(1, 5, 1, n.raft.GetConfiguration().Configuration(), 1, n.trans); err == nil {
				t.Error("a snapshot finds room")
				_ = sink.Cancel()
			}
			if after := snapshots(); after != before {
				t.Errorf("a snapshot that found no room leaves %d directories", after-before)
			}
			for j := range 10 {
				c.propose(dea(10 + j))
			}
			if n.Leadership().Leader {
				t.Error("a node with a full disk leads")
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the node returns", func() bool { _, err := n.DiskTrouble(); return err == nil })
			c.propose(dea(2))
			c.converged()
			if err := n.raft.Snapshot().Error(); err != nil {
				t.Errorf("a snapshot when there is room again: %v", err)
			}
		})
	}
}

// A full disk has a little room now and then. A leader that stopped leading for lack of room does not lead again in
// such a moment, and says why.
func TestAlmostFullDiskDoesNotLead(t *testing.T) {
	dir := smallDisk(t, "48m")
	c := startOnDisk(t, dir)
	n := c.nodes[0]
	eventually(t, "the node leads", func() bool {
		if l := c.leader(); l != n {
			_ = l.Transfer(bounded(t))
		}
		return c.leader() == n
	})
	filler := fillDisk(t, dir)
	i := 100
	more := func() {
		i++
		c.propose(bigDEA(deaID(i), 400))
	}
	eventually(t, "the disk of the node is full", func() bool {
		more()
		_, err := n.DiskTrouble()
		return errors.Is(err, syscall.ENOSPC)
	})
	ended := make(chan struct{})
	led := make(chan bool, 1)
	go func() {
		for seen := false; ; time.Sleep(time.Millisecond) {
			select {
			case <-ended:
				led <- seen
				return
			default:
				seen = seen || n.Leadership().Leader
			}
		}
	}()
	others := []*Node{c.nodes[1], c.nodes[2]}
	for round := range 2 {
		if err := os.Truncate(filler, fileSize(t, filler)-2<<20); err != nil { // room for some writes, and less than a start needs
			t.Fatal(err)
		}
		eventually(t, "the node has caught up", func() bool { return n.View().Index() >= c.leader().View().Index() })
		// Whoever leads tries to hand over to it, as an operator might.
		for _, o := range others {
			if o.Leadership().Leader {
				_ = o.TransferTo(bounded(t), n.opts.ID)
			}
		}
		fillUp(t, filler)
		eventually(t, "the disk is full again", func() bool {
			more()
			_, err := n.DiskTrouble()
			return err != nil
		})
		for _, o := range others {
			eventually(t, "the node is shown as not healthy", func() bool { m := member(o, n.opts.ID); return !m.Healthy && m.Problem != "" })
		}
		if m := member(n, n.opts.ID); m.Healthy || m.Problem == "" {
			t.Errorf("round %d: the node shows itself as %+v", round, m)
		}
	}
	close(ended)
	if <-led {
		t.Error("the node led while its disk was full now and then")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is healthy when there is room", func() bool {
		m := member(c.leader(), n.opts.ID)
		return m.Healthy && m.Problem == ""
	})
	eventually(t, "it may lead again", func() bool {
		if l := c.leader(); l != n {
			_ = l.TransferTo(bounded(t), n.opts.ID)
		}
		return n.Leadership().Leader
	})
}

func fileSize(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// fillUp makes a file, which may exist, as large as the remaining room allows.
func fillUp(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompactOnAFullDisk: a disk that is full, or fills up meanwhile, ends the compaction and harms nothing.
func TestCompactOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "48m")
	path := filepath.Join(dir, "raft.db")
	f := stormStore(t, path)
	filler := fillDisk(t, dir)
	if err := f.compact(5_001, goOn); !errors.Is(err, errNoCopyRoom) {
		t.Errorf("on a full disk the error is %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	err := f.compact(5_001, func() error {
		fillUp(t, filler)
		return nil
	})
	if !errors.Is(err, syscall.ENOSPC) && (err == nil || !isFull(err)) {
		t.Errorf("on a disk that fills up the error is %v", err)
	}
	if _, err := os.Stat(path + copySuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left: %v", err)
	}
	storeEntries(t, f, 6_001, 6_010) // into its free pages
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := f.compact(5_001, goOn); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, path, 5_001, 6_010)
}
