package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// refusedStart opens a node that must not start, and gives its error, one sentence, and the remedy.
func (c *testCluster) refusedStart(i int) (sentence, hint string) {
	c.t.Helper()
	l := newCluster(c.t, 1, nil)
	o := c.opts[i]
	o.listener = l.opts[0].listener
	l.opts[0].listener = nil
	n, err := Open(o)
	if err == nil {
		_ = n.Close()
		c.t.Fatal("the node starts")
	}
	var back interface{ Remedy() string }
	if strings.Contains(err.Error(), "\n") || !errors.As(err, &back) {
		c.t.Fatalf("%q is not one sentence with a remedy", err)
	}
	return err.Error(), back.Remedy()
}

// An undamaged snapshot that this version cannot restore, because a newer version has written it.
func TestSnapshotThatCannotBeRestored(t *testing.T) {
	t.Parallel()
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("both %v", both), func(t *testing.T) { unrestorable(t, both) })
	}
}

func unrestorable(t *testing.T, both bool) {
	c := startCluster(t, 1, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 1<<30, 1 })
	for round := range 2 {
		for i := range 5 {
			c.propose(wide(10*round + i))
		}
		if err := c.nodes[0].raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
	}
	c.close(0)
	dirs, err := filepath.Glob(c.file(0, "snapshots", "*"))
	if err != nil || len(dirs) != 2 {
		t.Fatal(dirs, err)
	}
	newest := usableSnapshot(c.file(0))
	for _, dir := range dirs {
		if facts, err := readSnapshotMeta(dir); err != nil || !both && facts.Index != newest {
			continue
		}
		state := []byte("of a form that nobody knows yet")
		meta := map[string]any{}
		text, err := os.ReadFile(filepath.Join(dir, snapshotMeta))
		if err == nil {
			err = json.Unmarshal(text, &meta)
		}
		sum := crc64.New(crc64.MakeTable(crc64.ECMA))
		_, _ = sum.Write(state)
		meta["Size"], meta["CRC"] = len(state), sum.Sum(nil)
		text, failed := json.Marshal(meta)
		if err := errors.Join(err, failed, os.WriteFile(filepath.Join(dir, snapshotMeta), text, 0o600), os.WriteFile(filepath.Join(dir, snapshotState), state, 0o600), sealSnapshot(dir)); err != nil {
			t.Fatal(err)
		}
	}
	before := listing(t, c.file(0))
	sentence, hint := c.refusedStart(0)
	if !strings.Contains(sentence, "is undamaged, but this version of hm cannot restore it: ") || !strings.Contains(hint, "run the version of hm that wrote it") {
		t.Errorf("%s\nhint: %s", sentence, hint)
	}
	if after := listing(t, c.file(0)); after != before {
		t.Errorf("the refused start changed the directory from %s to %s", before, after)
	}
}

// An entry that the state machine does not know ends the node, and not the process.
func TestEntryThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	n := c.nodes[0]
	_ = n.raft.Apply([]byte("of a kind that nobody knows yet"), 0)
	<-n.Failed()
	var u *DataDirError
	if err := n.Err(); !errors.As(err, &u) || strings.Contains(err.Error(), "\n") || !strings.Contains(u.Remedy(), "the version of hm") {
		t.Errorf("the node ends with %v", err)
	}
	c.close(0)
}

// Files where directories should be, directories where files should be, and no permission to read or write.
func TestDataDirThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(raft string) error{
		"raft is a file": func(raft string) error {
			return errors.Join(os.Rename(raft, raft+"-away"), os.WriteFile(raft, nil, 0o600))
		},
		"raft.db is a directory": func(raft string) error {
			db := filepath.Join(raft, "raft.db")
			return errors.Join(os.Rename(db, db+"-away"), os.Mkdir(db, 0o700))
		},
		"snapshots is a file": func(raft string) error {
			s := filepath.Join(raft, "snapshots")
			return errors.Join(os.Rename(s, s+"-away"), os.WriteFile(s, nil, 0o600))
		},
		"joining is a directory": func(raft string) error {
			return os.MkdirAll(filepath.Join(raft, joiningMarker, "deep"), 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, 1, nil)
			c.propose(dea(1))
			c.close(0)
			if err := spoil(c.file(0)); err != nil {
				t.Fatal(err)
			}
			if name == "joining is a directory" { // of no use to a node without peers
				c.start(0)
				c.propose(dea(2))
				return
			}
			sentence, hint := c.refusedStart(0)
			if !strings.HasPrefix(sentence, "node.data_dir: ") || !strings.Contains(hint, "move it away") {
				t.Errorf("%s\nhint: %s", sentence, hint)
			}
		})
	}
	for _, tt := range []struct {
		err  error
		hint string
	}{
		{fs.ErrPermission, "must be able to read and write /var/hm"}, {syscall.EACCES, "chown -R"}, {syscall.EROFS, "mounted read-only"},
	} {
		err := explainAccess("/var/hm", fmt.Errorf("node.data_dir: opening: %w", &fs.PathError{Op: "open", Path: "raft.db", Err: tt.err}))
		var u *DataDirError
		if !errors.As(err, &u) || !strings.Contains(u.Remedy(), tt.hint) || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// The record is damaged on all nodes. No node leads with less than was acknowledged, and every node says why. When the
// record is moved away on all nodes, the cluster starts empty.
func TestDamageOnAllNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	for i := range 10 {
		c.propose(wide(i))
	}
	c.converged()
	for _, n := range c.nodes {
		for _, peer := range c.nodes {
			eventually(t, "each node knows how far the logs of the others reach", func() bool { return n == peer || n.positions.of(peer.opts.ID).Index > 10 })
		}
	}
	for i := range c.nodes {
		c.close(i)
		flipText(t, c.file(i, "raft.db"), deaID(7))
	}
	for i := range c.nodes {
		c.start(i)
	}
	for _, n := range c.nodes {
		eventually(t, "every node shows every node as healing, and as not healthy", func() bool {
			for _, m := range n.Members() {
				if m.Healthy || m.Fault == nil || m.Fault.Kind != FaultHealing || !strings.Contains(m.Fault.Detail, "does not match its checksum") {
					return false
				}
			}
			return n.Leadership().LeaderID == ""
		})
	}
	for i := range c.nodes {
		c.close(i)
		if err := os.Rename(c.file(i), c.file(i)+"-away"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.nodes {
		c.start(i)
	}
	c.propose(wide(1))
}
