package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A majority is lost for ever. The newest survivor goes on, the other one copies its record and votes.
func TestRecover(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 5, func(_ int, o *Options) { o.SnapshotThreshold, o.trailingLogs = 8, 4 })
	for i := range 20 {
		c.propose(dea(i))
	}
	c.converged()
	behind := (c.index(c.leader()) + 1) % 5
	c.kill(behind)
	for i := range 10 {
		c.propose(dea(100 + i))
	}
	c.converged()
	newest := (behind + 1) % 5
	if _, err := Inspect(c.opts[newest].DataDir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the data of a running node: %v", err)
	}
	for i := range c.nodes {
		if c.nodes[i] != nil {
			c.kill(i)
		}
	}
	old, err := Inspect(c.opts[behind].DataDir)
	if err != nil {
		t.Fatal(err)
	}
	best, err := Inspect(c.opts[newest].DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if old.Node != c.opts[behind].ID || !best.Newer(old) || Newest([]Survivor{old, best}) != 1 || len(best.Members) != 5 {
		t.Errorf("the survivors are %+v and %+v", old, best)
	}
	keep := []Peer{{c.opts[newest].ID, c.opts[newest].Listen}, {c.opts[behind].ID, c.opts[behind].Listen}}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

	// An old survivor remembers how far the others were: recovering from it would lose what they have.
	var refused *Refusal
	if len(old.Ahead()) > 0 {
		if _, err := Recover(RecoverOptions{DataDir: old.Dir, Keep: keep, Now: now}); !errors.As(err, &refused) {
			t.Errorf("recovering from the older one: %v", err)
		}
	}
	if _, err := Recover(RecoverOptions{DataDir: best.Dir, Keep: keep[1:], Now: now}); err == nil {
		t.Error("the node itself is not kept")
	}
	done, err := Recover(RecoverOptions{DataDir: best.Dir, Keep: keep, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Lost) != 3 || done.Backup != filepath.Join(best.Dir, "raft.before-recovery-20261129T120000Z") {
		t.Errorf("done: %+v", done)
	}
	if after, err := Inspect(best.Dir); err != nil || after.Hash != best.Hash || len(after.Members) != 2 || after.Index != best.Index+1 {
		t.Errorf("after the recovery: %+v, %v; before %+v", after, err, best)
	}
	if _, err := os.Stat(filepath.Join(done.Backup, "raft.db")); err != nil {
		t.Error(err)
	}
	if _, err := SetRecordAside(RecoverOptions{DataDir: old.Dir, Keep: keep, Now: now}); err != nil {
		t.Fatal(err)
	}
	c.start(newest)
	c.start(behind)
	c.propose(dea(500))
	c.awaitVote(behind)
	s := c.converged()
	wantDEAs(t, s, 0, 20)
	wantDEAs(t, s, 100, 10)

	// The lost nodes come back with their data, and are a majority of the old cluster. They do not touch the new one.
	for i := range c.opts {
		if i != newest && i != behind {
			c.start(i)
		}
	}
	time.Sleep(5 * c.opts[0].ElectionTimeout)
	n := c.nodes[newest]
	if got := n.servers(); len(got) != 2 {
		t.Errorf("the members are %v", got)
	}
	lost := done.Lost[0]
	later := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte(lost)}, Term: 1000}
	if err := n.trans.mayFollow(later); !errors.Is(err, errLostMember) {
		t.Errorf("entries of a lost leader of a later term: %v", err)
	}
	if err := n.trans.mayElect(lost); !errors.Is(err, errLostMember) {
		t.Errorf("an election with a lost node: %v", err)
	}
	for i := range c.opts {
		if i != newest && i != behind {
			c.kill(i)
		}
	}
	c.propose(dea(501))
	wantDEAs(t, c.converged(), 500, 2)
}

func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Inspect(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no record") {
		t.Errorf("an empty directory: %v", err)
	}
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	c.close(0)
	dir, id := c.opts[0].DataDir, c.opts[0].ID
	for name, keep := range map[string][]Peer{
		"nobody":         nil,
		"another":        {{"x", "127.0.0.1:1"}},
		"a bad address":  {{id, "0.0.0.0:1"}},
		"an id twice":    {{id, "127.0.0.1:1"}, {id, "127.0.0.1:2"}},
		"address twice":  {{id, "127.0.0.1:1"}, {"x", "127.0.0.1:1"}},
		"a bad id":       {{id, "127.0.0.1:1"}, {"a b", "127.0.0.1:2"}},
		"too many nodes": {{id, "127.0.0.1:1"}, {"a", "127.0.0.1:2"}, {"b", "127.0.0.1:3"}, {"c", "127.0.0.1:4"}, {"d", "127.0.0.1:5"}, {"e", "127.0.0.1:6"}, {"f", "127.0.0.1:7"}, {"g", "127.0.0.1:8"}},
	} {
		if _, err := Recover(RecoverOptions{DataDir: dir, Keep: keep, Now: time.Now()}); err == nil {
			t.Errorf("%s: it recovers", name)
		}
	}
	if _, err := Recover(RecoverOptions{DataDir: dir, ID: "x", Keep: []Peer{{"x", "127.0.0.1:1"}}, Now: time.Now()}); err == nil {
		t.Error("it recovers for another node")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "raft.before*")); err != nil || len(left) > 0 {
		t.Errorf("a refusal left %v, %v", left, err)
	}
	c.start(0)
	c.propose(dea(2))
}

func FuzzMemberFile(f *testing.F) {
	f.Add([]byte(`{"format":1,"node":"hm-0","index":3,"members":[{"id":"hm-0","address":"10.0.0.1:7140","voter":true}],"lost":["hm-2"]}`))
	f.Add([]byte(`{"format":2,"node":"hm-0"}`))
	f.Add([]byte(`{"format":1,"node":"../x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := decodeMemberFile(b)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := file.write(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := readMemberFile(dir); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
