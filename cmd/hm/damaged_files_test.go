package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/cluster"
	"hm/raftfsm"
)

// finalMessage waits until a node's process has ended by itself with exit code 1. It gives the last two lines of its
// output, the message for people. In it DIR stands for the data directory, and N for each number.
func (b *bareNodes) finalMessage(i int) string {
	b.t.Helper()
	p := b.nodes[i]
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		b.t.Fatal("the process does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		b.t.Errorf("exit code %d, want 1", code)
	}
	output, err := os.ReadFile(p.log.Name())
	if err != nil {
		b.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(output), "\n"), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "fatal error") {
			b.t.Fatalf("it ends in a panic: %s", line)
		}
	}
	lines = lines[max(len(lines)-2, 0):]
	text := strings.ReplaceAll(strings.Join(lines, "\n"), b.dirs[i], "DIR")
	text = regexp.MustCompile(`[0-9]+-[0-9]+-[0-9]+`).ReplaceAllString(text, "SNAPSHOT")
	return regexp.MustCompile(`[0-9]+`).ReplaceAllString(text, "N")
}

// newestSnapshots gives the directories of a node's snapshots, the newest first.
func (b *bareNodes) newestSnapshots(i int) []string {
	b.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(b.dirs[i], "raft", "snapshots", "*-*-*"))
	if err != nil {
		b.t.Fatal(err)
	}
	key := func(dir string) (term, index int) {
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d-%d-", &term, &index); err != nil {
			b.t.Fatal(err)
		}
		return term, index
	}
	slices.SortFunc(dirs, func(x, y string) int {
		xt, xi := key(x)
		yt, yi := key(y)
		return (yt-xt)<<32 + yi - xi
	})
	return slices.DeleteFunc(dirs, func(d string) bool { return strings.HasSuffix(d, ".tmp") })
}

// nodeWithGap makes a stopped single node with two snapshots. There are more entries between the two than its log still
// has, so the older snapshot and the log together leave a gap.
func nodeWithGap(t *testing.T) *bareNodes {
	b := newBareNodes(t, 1)
	b.leader()
	b.nodes[0].signal(syscall.SIGTERM)
	n, err := cluster.Open(cluster.Options{
		ID: "hm-0", DataDir: b.dirs[0], Listen: b.rafts[0], HeartbeatTimeout: 100 * time.Millisecond, ElectionTimeout: 100 * time.Millisecond,
		LeaseTimeout: 50 * time.Millisecond, SnapshotThreshold: 8,
		SnapshotInterval: 500 * time.Millisecond, // on a busy machine an entry takes 20 ms, and many must come between two snapshots
	})
	if err != nil {
		t.Fatal(err)
	}
	b.await("two snapshots are far enough apart", func() bool {
		for i := range 40 {
			_, _ = n.Propose(t.Context(), raftfsm.HoldSet{Hold: raftfsm.Hold{Name: fmt.Sprintf("hold-%d", i), Reason: "its entry"}}) // fails until the node leads
		}
		dirs := b.newestSnapshots(0)
		if len(dirs) < 2 {
			return false
		}
		var newer, older, term int
		_, err := fmt.Sscanf(filepath.Base(dirs[0])+" "+filepath.Base(dirs[1]), "%d-%d-%d %d-%d-", &term, &newer, &term, &term, &older)
		return err == nil && newer-older > 3*8
	})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

func cutInHalf(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

// TestE2EDamagedFilesSayWhatToDo: a single node that cannot repair its record says what is damaged and how to go on, and
// that advice works.
func TestE2EDamagedFilesSayWhatToDo(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	const (
		alone   = "hm: joining the cluster: node.data_dir: the Raft store in DIR/raft is damaged, and no other node has a copy: "
		toOlder = "hint: restore a backup of DIR/raft; or move DIR/raft/raft.db away: hm then starts from its snapshot of entry N," +
			" without what it recorded later, and learns the rest from the DEAs and the Cloud Controller"
		toNothing = "hint: restore a backup of DIR/raft; or move it away: hm then starts empty," +
			" without its holds and crash series, and learns the rest from the DEAs and the Cloud Controller"
	)
	withoutLog := func(raft string) error { return os.Rename(filepath.Join(raft, "raft.db"), raft+".db-away") }
	for name, tt := range map[string]struct {
		damage func(t *testing.T, b *bareNodes)
		want   string
		repair func(raft string) error // what the hint advises
	}{
		"the newest snapshot is truncated": {
			func(t *testing.T, b *bareNodes) { cutInHalf(t, filepath.Join(b.newestSnapshots(0)[0], "state.bin")) },
			alone + "the newest usable snapshot ends with entry N and the log begins with entry N: state.bin of the snapshot SNAPSHOT does not match its checksum\n" + toOlder,
			withoutLog,
		},
		"the newest snapshot is gone": {
			func(t *testing.T, b *bareNodes) {
				if err := os.RemoveAll(b.newestSnapshots(0)[0]); err != nil {
					t.Fatal(err)
				}
			},
			alone + "the newest usable snapshot ends with entry N and the log begins with entry N\n" + toOlder,
			withoutLog,
		},
		"both snapshots are damaged": {
			func(t *testing.T, b *bareNodes) {
				for _, dir := range b.newestSnapshots(0) {
					cutInHalf(t, filepath.Join(dir, "state.bin"))
				}
			},
			alone + "no snapshot is usable and the log begins with entry N: state.bin of the snapshot SNAPSHOT does not match its checksum\n" + toNothing,
			func(raft string) error { return os.Rename(raft, raft+"-away") },
		},
		"raft.db is torn": {
			func(t *testing.T, b *bareNodes) { // half of the file may be room for later
				if err := os.Truncate(filepath.Join(b.dirs[0], "raft", "raft.db"), 3*int64(os.Getpagesize())); err != nil {
					t.Fatal(err)
				}
			},
			alone + "raft.db has N bytes, but should have N pages\n" + toOlder,
			withoutLog,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := nodeWithGap(t)
			tt.damage(t, b)
			b.nodes[0].start()
			if got := b.finalMessage(0); got != tt.want {
				t.Errorf("the message is\n%s\nwant\n%s", got, tt.want)
			}
			if err := tt.repair(filepath.Join(b.dirs[0], "raft")); err != nil {
				t.Fatal(err)
			}
			b.nodes[0].start()
			b.hold("after", "the repair")
		})
	}
}

// TestE2EDataDirOfAnotherUser: a node that may not read its record says which user needs the permission.
func TestE2EDataDirOfAnotherUser(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	b := newBareNodes(t, 1)
	b.leader()
	b.nodes[0].signal(syscall.SIGTERM)
	if err := os.Chmod(filepath.Join(b.dirs[0], "raft", "raft.db"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root may read everything, so the node runs as another user
		dir, err := os.MkdirTemp("/tmp", "hm-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a directory that is left there does no harm
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		moved := filepath.Join(dir, "data")
		program := filepath.Join(dir, "program")
		copied, err := os.ReadFile(self)
		err = errors.Join(err, os.WriteFile(program, copied, 0o755), os.Rename(b.dirs[0], moved), os.Chmod(dir, 0o755), os.Chmod(moved, 0o755), os.Chmod(filepath.Join(moved, "raft"), 0o755))
		if err != nil {
			t.Fatal(err)
		}
		p := b.nodes[0]
		for i, arg := range p.args {
			p.args[i] = strings.ReplaceAll(arg, b.dirs[0], moved)
		}
		b.dirs[0] = moved
		p.program, p.user = program, 65534
	}
	b.nodes[0].start()
	got := b.finalMessage(0)
	if who := regexp.MustCompile(`runs as the user ([^ ,]+),`).FindStringSubmatch(got); who != nil {
		got = strings.ReplaceAll(got, who[1], "USER")
	}
	const want = "hm: joining the cluster: node.data_dir: open DIR/raft/members.json: permission denied\n" +
		"hint: hm runs as the user USER, which must be able to read and write DIR and everything in it: run chown -R USER DIR, or run hm as the owner"
	if got != want {
		t.Errorf("the message is\n%s\nwant\n%s", got, want)
	}
}
