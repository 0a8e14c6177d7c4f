package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"

	"hm/raftfsm"
)

// newerEntry is an encoded entry with one record of a kind that this version does not know.
func newerEntry(ignorable bool) []byte {
	rec := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(raftfsm.MaxKind)+1)
	if ignorable {
		rec = protowire.AppendVarint(protowire.AppendTag(rec, 2, protowire.VarintType), 1)
	}
	entry := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1_700_000_000_000)
	return protowire.AppendBytes(protowire.AppendTag(entry, 2, protowire.BytesType), rec)
}

// A node whose log has an entry that only a newer version can apply does not start, so that it cannot lead and fail. It
// changes nothing, and names the version that can. With that entry in a snapshot that it can read, it starts.
func TestLogOfANewerVersion(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, func(_ int, o *Options) { o.SnapshotThreshold, o.Version = 1<<30, "v9.8.7" })
	c.propose(dea(1))
	if err := c.nodes[0].raft.Apply(newerEntry(true), 0).Error(); err != nil {
		t.Fatal("a kind that may be skipped: ", err)
	}
	c.propose(dea(2))
	c.close(0)
	c.opts[0].Version = "v0.1.0"
	c.start(0) // what may be skipped is no obstacle
	_, n := c.propose(dea(3))
	v := directoryVersion{"v9.8.7", uint32(raftfsm.MaxKind) + 1, raftfsm.SnapshotFormat}
	text, _ := json.Marshal(v)
	if err := os.WriteFile(c.file(0, versionFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = n.raft.Apply(newerEntry(false), 0)
	select {
	case <-n.Failed():
	case <-bounded(t).Done():
		t.Fatal("the node applies what it does not know")
	}
	c.close(0)
	before := listing(t, c.file(0))
	sentence, hint := c.refusedStart(0)
	if want := fmt.Sprintf("has a record of kind %d", raftfsm.MaxKind+1); !strings.Contains(sentence, want) || !strings.HasPrefix(sentence, "node.data_dir: ") {
		t.Error(sentence)
	}
	if !strings.Contains(hint, "hm v9.8.7 was the newest version that used the directory") || !strings.Contains(hint, "takes part in no election") {
		t.Error(hint)
	}
	if after := listing(t, c.file(0)); after != before {
		t.Errorf("the refused start changed the directory from %s to %s", before, after)
	}
}

// Checksums of a later version are not taken for damage: nothing is set aside.
func TestChecksumsOfANewerVersion(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, c *testCluster){
		"entry": func(t *testing.T, c *testCluster) { flipMark(t, c.file(0, "raft.db"), entryMark) },
		"value": func(t *testing.T, c *testCluster) { flipMark(t, c.file(0, "raft.db"), valueMark) },
		"snapshot": func(t *testing.T, c *testCluster) {
			files, err := filepath.Glob(c.file(0, "snapshots", "*", snapshotSum))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err == nil {
					err = os.WriteFile(f, []byte(strings.Replace(string(text), "hms1 ", "hms2 ", 1)), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold = 1 << 30 })
			c.propose(dea(1))
			c.converged()
			if err := c.nodes[0].raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			c.close(0)
			spoil(t, c)
			before := listing(t, c.file(0))
			sentence, hint := c.refusedStart(0)
			if !strings.Contains(sentence, "a newer hm wrote it") || !strings.Contains(hint, "or a newer one") {
				t.Errorf("%s\nhint: %s", sentence, hint)
			}
			if after := listing(t, c.file(0)); after != before {
				t.Errorf("the refused start changed the directory from %s to %s", before, after)
			}
		})
	}
}

// TestChecksumVersion holds that the number which hm version prints is the one that is written.
func TestChecksumVersion(t *testing.T) {
	if entryMark[3] != ChecksumVersion || valueMark[3] != ChecksumVersion || sumMark[3] != '0'+ChecksumVersion {
		t.Errorf("the marks are %q, %q and %q, and ChecksumVersion is %d", entryMark, valueMark, sumMark, ChecksumVersion)
	}
}

// flipMark raises the version in every mark of a kind in raft.db, and makes the pages right again by a copy through
// bbolt: only the bytes of the values change.
func flipMark(t *testing.T, path, mark string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(text), mark)
	if at < 0 {
		t.Fatalf("there is no %q in %s", mark, path)
	}
	newer := mark[:len(mark)-1] + string(mark[len(mark)-1]+1)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), mark, newer)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fromFutureFSM writes snapshots of a format that this version does not know.
type fromFutureFSM struct {
	raft.FSM
	future *atomic.Bool
}

func (f fromFutureFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.future.Load() {
		return futureSnapshot{}, nil
	}
	return f.FSM.Snapshot()
}

type futureSnapshot struct{}

func (futureSnapshot) Persist(sink raft.SnapshotSink) error {
	start := binary.LittleEndian.AppendUint32([]byte("hmsnap\r\n"), raftfsm.SnapshotFormat+1)
	if _, err := sink.(*checkedSink).SnapshotSink.Write(append(start, "and what comes then"...)); err != nil {
		return err
	}
	return sink.Close()
}

func (futureSnapshot) Release() {}

// A follower that needs a snapshot of a format that it does not know keeps what it has and says that it is too old. It
// goes on to vote by its own log: the others can still elect a leader with its vote. When it can be served again it
// follows.
func TestSnapshotForAnOlderFollower(t *testing.T) {
	t.Parallel()
	var future atomic.Bool
	c := startCluster(t, 3, func(_ int, o *Options) {
		o.SnapshotThreshold, o.trailingLogs = 1<<30, 1
		o.wrapFSM = func(f raft.FSM) raft.FSM { return fromFutureFSM{f, &future} }
	})
	lead := c.leader()
	old := (c.index(lead) + 1) % 3
	c.propose(dea(0))
	c.converged()
	if err := c.nodes[old].raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	kept := usableSnapshot(c.file(old))
	c.close(old)
	future.Store(true)
	for i := 1; i < 9; i++ {
		c.propose(dea(i))
	}
	lead = c.leader()
	if err := lead.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	n := c.start(old)
	eventually(t, "the follower says that it is too old, to itself and to its peers", func() bool {
		for _, by := range c.running() {
			m := by.Members()[old]
			if m.Healthy || m.Fault == nil || m.Fault.Kind != FaultTooOld || !strings.Contains(m.Fault.Detail, fmt.Sprintf("format %d", raftfsm.SnapshotFormat+1)) {
				return false
			}
		}
		return true
	})
	if at := usableSnapshot(c.file(old)); at != kept {
		t.Errorf("its newest snapshot is now of entry %d, it was of entry %d", at, kept)
	}

	// The leader learns what the follower reads, and no longer sends what it would refuse.
	n.SetInfo(PeerInfo{Version: "v0.1.0", Kinds: uint32(raftfsm.MaxKind), SnapshotFormat: raftfsm.SnapshotFormat})
	start := binary.LittleEndian.AppendUint32([]byte("hmsnap\r\n"), raftfsm.SnapshotFormat+1)
	eventually(t, "the leader knows what the follower reads", func() bool {
		_, err := lead.readableBy(raft.ServerID(c.opts[old].ID), strings.NewReader(string(start)))
		return errors.Is(err, errUnreadable)
	})
	for name, text := range map[string]string{"a format that it reads": "hmsnap\r\n\x01\x00\x00\x00and more", "something else": "x"} {
		r, err := lead.readableBy(raft.ServerID(c.opts[old].ID), strings.NewReader(text))
		if err != nil {
			t.Fatal(name, err)
		}
		if whole, err := io.ReadAll(r); err != nil || string(whole) != text {
			t.Errorf("%s: %q, %v", name, whole, err)
		}
	}

	future.Store(false)
	eventually(t, "the leader takes a snapshot that the follower can read, and the follower is well", func() bool {
		c.propose(dea(10))
		if err := c.leader().raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			t.Log(err)
		}
		_, ok := n.Fault()
		return !ok
	})
	wantDEAs(t, c.converged(), 0, 9)
	if left, _ := filepath.Glob(c.file(old, "snapshots", "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What a node knows of its peers' versions, and what it notes of its own.
func TestVersionsOfMembers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2, func(i int, o *Options) { o.Version = fmt.Sprintf("v0.%d.0", i) })
	for i, n := range c.nodes {
		n.SetInfo(PeerInfo{Version: c.opts[i].Version, Kinds: 14, SnapshotFormat: 1})
	}
	eventually(t, "each node knows the version of the other", func() bool {
		for i, n := range c.nodes {
			other := n.Members()[1-i]
			if other.Info.Version != c.opts[1-i].Version || other.Info.SnapshotFormat != 1 || other.Info.Kinds != 14 ||
				!strings.Contains(n.peerVersions(), fmt.Sprintf("hm-%d runs hm v0.%d.0", 1-i, 1-i)) {
				return false
			}
		}
		return true
	})
	if v, ok := readVersion(c.file(1)); !ok || v != thisVersion("v0.1.0") {
		t.Errorf("the directory is noted as used by %+v", v)
	}
}

// The file with the version decides nothing: without it, or with rubbish in it, a node starts.
func TestVersionFileDecidesNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, func(_ int, o *Options) { o.Version = "v0.1.0" })
	newer := fmt.Sprintf(`{"version":"v7","kinds":%d,"snapshot_format":1,"more":[]}`, raftfsm.MaxKind+3)
	for _, text := range []string{"", "{", strings.Repeat("x", 2*maxVersionFile), newer} {
		c.propose(dea(1))
		c.close(0)
		if err := os.WriteFile(c.file(0, versionFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.start(0)
		want := thisVersion("v0.1.0")
		if text == newer {
			want = directoryVersion{"v7", uint32(raftfsm.MaxKind) + 3, 1}
		}
		if v, _ := readVersion(c.file(0)); v != want {
			t.Errorf("with %.20q the directory is noted as used by %+v", text, v)
		}
	}
}
