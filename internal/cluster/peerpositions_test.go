package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// wantNoLeader checks that two running nodes elect no leader if one of them may have forgotten what it acknowledged:
// the follower asks for votes and gets none.
func (c *testCluster) wantNoLeader(follower, forgetful *Node) {
	c.t.Helper()
	eventually(c.t, "the forgetful node is joining", forgetful.join.active.Load)
	eventually(c.t, "they have each other's status", func() bool {
		return member(follower, forgetful.opts.ID).Healthy && member(forgetful, follower.opts.ID).Healthy
	})
	eventually(c.t, "the follower has asked for votes", func() bool { return follower.raft.State() == raft.Candidate })
	header := raft.RPCHeader{ProtocolVersion: 3, ID: []byte(follower.opts.ID), Addr: []byte(follower.opts.Listen)}
	for range 10 { // so that the answer is no accident
		id, address := raft.ServerID(follower.opts.ID), raft.ServerAddress(follower.opts.Listen)
		if err := forgetful.trans.RequestVote(id, address, &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); !errors.Is(err, errJoining) {
			c.t.Fatalf("the forgetful node asks for votes: %v", err)
		}
		if err := forgetful.trans.RequestPreVote(id, address, &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{}); !errors.Is(err, errJoining) {
			c.t.Fatalf("the forgetful node asks whether it would get votes: %v", err)
		}
		var resp raft.RequestPreVoteResponse
		err := follower.trans.NetworkTransport.RequestPreVote(raft.ServerID(forgetful.opts.ID), raft.ServerAddress(forgetful.opts.Listen),
			&raft.RequestPreVoteRequest{RPCHeader: header, Term: 1000, LastLogIndex: 1 << 30, LastLogTerm: 1000}, &resp)
		if err == nil && resp.Granted {
			c.t.Fatal("the forgetful node gives its vote")
		}
	}
	if !forgetful.join.active.Load() || follower.Leadership().Leader || forgetful.Leadership().Leader {
		c.t.Fatal("two nodes that lack acknowledged records elected a leader")
	}
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// An operator replaces data_dir by an older backup on a node that helped to commit newer records. The other node that
// helped dies; the third was down when the newest records were made.
func TestOlderBackupMakesNoLeader(t *testing.T) {
	c := startCluster(t, 3, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 4, 2 })
	for i := range 10 {
		c.propose(dea(i))
	}
	c.converged()
	const restored = 0 // whether it leads or follows when the newest records are made
	backup := filepath.Join(t.TempDir(), "backup")
	c.close(restored)
	copyDir(t, backup, c.opts[restored].DataDir)
	c.start(restored)
	for i := range 10 {
		c.propose(dea(100 + i))
	}
	c.converged()
	behind := (restored + 1) % 3
	other := 3 - restored - behind
	eventually(t, "the third node was told how far the log of the first reaches", func() bool {
		return !c.nodes[behind].positions.of(c.opts[restored].ID).less(c.nodes[restored].logEnd())
	})
	c.close(behind)
	for i := range 20 {
		c.propose(dea(200 + i))
	}
	c.kill(restored)
	copyDir(t, c.opts[restored].DataDir, backup)
	c.kill(other)

	follower, old := c.start(behind), c.start(restored)
	c.wantNoLeader(follower, old)
	c.kill(restored) // a crash in the middle does not make it forget that it has to wait
	if old = c.start(restored); !old.join.active.Load() {
		t.Fatal("after a crash the node with the older copy takes part in elections")
	}
	c.start(other)
	c.propose(dea(300))
	s := c.converged()
	wantDEAs(t, s, 200, 20)
	eventually(t, "the node with the older copy has caught up and takes part", func() bool { return !old.join.active.Load() })
	eventually(t, "each of the others accepts its votes", func() bool {
		return c.nodes[behind].positions.mayElect(old.opts.ID) == nil && c.nodes[other].positions.mayElect(old.opts.ID) == nil
	})
}

// Until two members have exchanged messages neither asks the other for a vote nor gives one.
func TestElectionsWaitForAComparison(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	eventually(t, "no node is joining", func() bool {
		for _, n := range c.nodes {
			if n.join.active.Load() {
				return false
			}
		}
		return true
	})
	n, peer := c.nodes[0], c.nodes[1]
	forget := func() { n.positions.keep(func(string) bool { return false }) } // until the next message
	to, from := raft.ServerID(peer.opts.ID), raft.ServerID(n.opts.ID)
	toAddress, fromAddress := raft.ServerAddress(peer.opts.Listen), raft.ServerAddress(n.opts.Listen)
	header := raft.RPCHeader{ProtocolVersion: 3, ID: []byte(peer.opts.ID), Addr: []byte(peer.opts.Listen)}
	for what, ask := range map[string]func() error{
		"its vote": func() error {
			return n.trans.RequestVote(to, toAddress, &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		},
		"a trial": func() error {
			return n.trans.RequestPreVote(to, toAddress, &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{})
		},
		"to take over": func() error {
			return n.trans.TimeoutNow(to, toAddress, &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
		},
	} {
		eventually(t, "the node does not ask a member without a message for "+what, func() bool {
			forget()
			return errors.Is(ask(), errNotCompared)
		})
	}
	inner := peer.trans.NetworkTransport
	for what, ask := range map[string]func() error{
		"its vote": func() error {
			return inner.RequestVote(from, fromAddress, &raft.RequestVoteRequest{RPCHeader: header}, &raft.RequestVoteResponse{})
		},
		"a trial": func() error {
			return inner.RequestPreVote(from, fromAddress, &raft.RequestPreVoteRequest{RPCHeader: header}, &raft.RequestPreVoteResponse{})
		},
	} {
		eventually(t, "the node does not give a member without a message "+what, func() bool {
			forget()
			err := ask()
			return err != nil && strings.Contains(err.Error(), errNotCompared.Error())
		})
	}
	c.propose(dea(2))
	c.converged()
}

func TestPeerPositionsAreSaved(t *testing.T) {
	dir := t.TempDir()
	m := loadPeerPositions(dir, newSampledLog(discard()))
	if err := m.mayElect("b"); !errors.Is(err, errNotCompared) {
		t.Errorf("an election with a member that sent no message: %v", err)
	}
	m.update("b", logPosition{3, 10}, logPosition{2, 5})
	m.update("b", logPosition{3, 9}, logPosition{2, 4})
	m.update("c", logPosition{}, logPosition{}) // a version that does not tell
	if err := m.mayElect("b"); !errors.Is(err, errBehind) {
		t.Errorf("an election with a member whose log has become shorter: %v", err)
	}
	if err := m.mayElect("c"); err != nil {
		t.Errorf("an election with a member of an older version: %v", err)
	}
	if got := m.ownHighest(); got != (logPosition{2, 4}) {
		t.Errorf("this node's position as the peers remember it is %v", got)
	}
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	m = loadPeerPositions(dir, newSampledLog(discard()))
	if got := m.of("b"); got != (logPosition{3, 10}) {
		t.Errorf("after a restart the position of b is %v", got)
	}
	m.update("b", logPosition{4, 7}, logPosition{}) // of a later term: entries that were never committed gave way
	if err := m.mayElect("b"); err != nil || m.of("b") != (logPosition{4, 7}) {
		t.Errorf("an election with a member that has caught up: %v, its position is %v", err, m.of("b"))
	}
	m.keep(func(id string) bool { return id == "c" })
	if m.of("b") != (logPosition{}) || !errors.Is(m.mayElect("b"), errNotCompared) {
		t.Error("a removed member still has a position")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the directory holds %v, %v", files, err)
	}
}

func TestPeerPositionsFileThatCannotBeUsed(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "no JSON": "{", "another format": `{"format":2,"marks":{}}`, "no positions": `{"format":1}`,
		"an unknown field": `{"format":1,"marks":{},"x":1}`, "a bad id": `{"format":1,"marks":{"a b":{"term":1,"index":1}}}`,
		"negative":  `{"format":1,"marks":{"a":{"term":-1,"index":1}}}`,
		"too large": `{"format":1,"marks":{"a":{"term":1,"index":1}}}` + strings.Repeat(" ", maxPositionsFile),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "peers.json")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := readPeerPositions(path); err == nil {
				t.Error("it was read")
			}
			m := loadPeerPositions(dir, newSampledLog(discard()))
			m.update("a", logPosition{1, 1}, logPosition{})
			if err := m.save(); err != nil {
				t.Fatal(err)
			}
			if positions, err := readPeerPositions(path); err != nil || positions["a"] != (logPosition{1, 1}) {
				t.Errorf("the file that replaced it reads as %v, %v", positions, err)
			}
		})
	}
}
