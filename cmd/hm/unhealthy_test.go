//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// statusText is the output of hm status. In it DIR-a stands for the data directory of hm-0, and so on.
func (b *bareNodes) statusText(i int) string {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self, "status", "--addr", b.apis[i])
	cmd.Env = append(os.Environ(), asVariable+"=hm", "NO_COLOR=1")
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatal(err)
	}
	text := string(out)
	for n, dir := range b.dirs {
		text = strings.ReplaceAll(text, dir, fmt.Sprintf("DIR-%c", 'a'+n))
	}
	return text
}

// problemOf gives the problem of node of that hm status of node i shows, without numbers. It is empty if there is none.
func (b *bareNodes) problemOf(i, of int) string {
	for line := range strings.Lines(b.statusText(i)) {
		if rest, ok := strings.CutPrefix(line, fmt.Sprintf("hm-%d: ", of)); ok {
			rest = strings.ReplaceAll(strings.TrimSpace(rest), b.rafts[of], "ADDRESS")
			rest = regexp.MustCompile(`[0-9]+(\.[0-9]+)?(ms|s)`).ReplaceAllString(rest, "TIME")
			return regexp.MustCompile(`(storing entries|deleting entries) in`).ReplaceAllString(rest, "WRITING in")
		}
	}
	return ""
}

// TestE2EFullDiskOfTheLeader: the disk of the leader fills up. Another node leads, and hm status shows the problem.
func TestE2EFullDiskOfTheLeader(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	b := newBareNodes(t, 3)
	leader := b.leader()
	// Give the leader a small disk. It joins the cluster again on this disk, and leads again.
	b.nodes[leader].signal(syscall.SIGTERM)
	if err := syscall.Mount("tmpfs", b.dirs[leader], "tmpfs", 0, "size=12m"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("cannot mount a tmpfs, and HM_TEST_REQUIRE=all asks for it: run as root: %v", err)
		}
		t.Skipf("a full disk needs a tmpfs of its own, which only root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(b.dirs[leader], syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	b.nodes[leader].start()
	b.await("the node with the small disk leads", func() bool {
		s, err := b.status(leader)
		if err != nil || s.Cluster.Leader == "" || s.Cluster.Leader == s.Node {
			return err == nil && s.Cluster.Leader == s.Node
		}
		for i, n := range b.nodes { // restart each other leader until this node leads
			if fmt.Sprintf("hm-%d", i) == s.Cluster.Leader {
				if _, err := os.Stat(filepath.Join(b.dirs[leader], "raft", "joining")); err == nil {
					return false
				}
				n.signal(syscall.SIGTERM)
				n.start()
			}
		}
		return false
	})
	filler, err := os.Create(filepath.Join(b.dirs[leader], "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for size := 1 << 20; size > 0; {
		if _, err := filler.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			t.Fatal(err)
		}
	}
	other := (leader + 1) % 3
	n := 0
	want := "WRITING in DIR-" + string(rune('a'+leader)) + "/raft/raft.db has failed for TIME: write DIR-" + string(rune('a'+leader)) + "/raft/raft.db: no space left on device"
	b.await("another node shows that its disk is full", func() bool {
		for range 5 {
			n++
			b.hold(fmt.Sprintf("hold-%d", n%20), strings.Repeat("x", 400))
		}
		return b.problemOf(other, leader) == want
	})
	if got := b.problemOf(leader, leader); got != want {
		t.Errorf("the node shows its own problem as\n%s\nwant\n%s", got, want)
	}
	for range 20 {
		if s, err := b.status(leader); err == nil && s.Gate.Open || s.Cluster.Leader == s.Node {
			t.Fatalf("the node with the full disk leads: %+v", s.Cluster)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s, err := b.status(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range s.Cluster.Nodes {
		if full := node.ID == fmt.Sprintf("hm-%d", leader); node.Healthy == full {
			t.Errorf("%s is shown as healthy %v", node.ID, node.Healthy)
		}
	}
	if err := filler.Truncate(0); err != nil {
		t.Fatal(err)
	}
	b.await("the node is healthy again when its disk has room", func() bool { return b.problemOf(other, leader) == "" })
}

// TestE2EMovedNode: a node has moved to another address, and raft.peers of the others still has the old one.
func TestE2EMovedNode(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	b := newBareNodes(t, 3)
	leader := b.leader()
	moved, other := (leader+1)%3, (leader+2)%3
	b.nodes[moved].signal(syscall.SIGTERM)
	address := fmt.Sprintf("127.0.0.1:%d", bustest.FreePorts(t, 1)[0])
	for i, arg := range b.nodes[moved].args {
		b.nodes[moved].args[i] = strings.ReplaceAll(arg, b.rafts[moved], address)
	}
	b.nodes[moved].start()
	for _, i := range []int{leader, other} {
		want := fmt.Sprintf("its messages arrive, but this node has not reached it at ADDRESS for TIME: if it has moved, run hm cluster add hm-%d=ADDRESS (dial tcp ADDRESS: connect: connection refused)", moved)
		got := ""
		b.await(fmt.Sprintf("node %d says that it cannot reach the one that moved", i), func() bool {
			got = b.problemOf(i, moved)
			return got != ""
		})
		if got != want {
			t.Errorf("node %d says\n%s\nwant\n%s", i, got, want)
		}
	}
	reached := []string{fmt.Sprintf("hm-%d", leader), fmt.Sprintf("hm-%d", other)}
	if reached[1] < reached[0] {
		reached[0], reached[1] = reached[1], reached[0]
	}
	want := fmt.Sprintf("it reaches %s, but no message of another member arrives: if it has moved, run hm cluster add hm-%d=%s", strings.Join(reached, ", "), moved, address)
	b.await("it says of itself that nobody reaches it", func() bool { return b.problemOf(moved, moved) == want })
}
