package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/cluster"
)

// bareNodes are nodes without NATS and without a Cloud Controller. Tests write to them over the API.
type bareNodes struct {
	t     *testing.T
	nodes []*process
	apis  []string
	rafts []string
	dirs  []string
}

func newBareNodes(t *testing.T, size int, sets ...string) *bareNodes {
	t.Helper()
	port := bustest.FreePorts(t, 2*size+1)
	b := &bareNodes{t: t}
	var peers []string
	for i := range size {
		peers = append(peers, fmt.Sprintf("hm-%d=127.0.0.1:%d", i, port[i]))
	}
	if size == 1 {
		peers = nil
	}
	for i := range size {
		address := fmt.Sprintf("127.0.0.1:%d", port[size+i])
		b.apis, b.dirs = append(b.apis, "http://"+address), append(b.dirs, t.TempDir())
		b.rafts = append(b.rafts, fmt.Sprintf("127.0.0.1:%d", port[i]))
		args := []string{"server",
			"--set", fmt.Sprintf("node.id=hm-%d", i), "--set", "node.data_dir=" + b.dirs[i],
			"--set", fmt.Sprintf("raft.listen=127.0.0.1:%d", port[i]), "--set", "raft.peers=" + strings.Join(peers, ","),
			"--set", "api.listen=" + address, "--set", fmt.Sprintf("nats.servers=nats://127.0.0.1:%d", port[2*size])}
		for _, set := range sets {
			args = append(args, "--set", set)
		}
		b.nodes = append(b.nodes, startProcess(t, fmt.Sprintf("hm-%d", i), "hm", args...))
	}
	return b
}

// await polls until done.
func (b *bareNodes) await(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func (b *bareNodes) status(i int) (s api.Status, err error) {
	return s, getJSON(b.apis[i]+"/v1/status", &s)
}

// leader gives the number of the node that leads.
func (b *bareNodes) leader() (leader int) {
	b.t.Helper()
	b.await("a node leads", func() bool {
		for i := range b.apis {
			if s, err := b.status(i); err == nil && s.Cluster.Leader == s.Node {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// hold sets a hold over any node that accepts it.
func (b *bareNodes) hold(name, reason string) {
	b.t.Helper()
	b.await("a hold is recorded", func() bool {
		for _, base := range b.apis {
			resp, err := http.Post(base+"/v1/holds", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q,"reason":%q}`, name, reason)))
			if err != nil {
				continue
			}
			resp.Body.Close()
			if resp.StatusCode < 300 {
				return true
			}
		}
		return false
	})
}

// flip changes one bit of each occurrence of text in a node's raft.db.
func (b *bareNodes) flip(i int, text string) {
	b.t.Helper()
	path := filepath.Join(b.dirs[i], "raft", "raft.db")
	db, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	flipped := 0
	for at := 0; ; at++ {
		n := bytes.Index(db[at:], []byte(text))
		if n < 0 {
			break
		}
		at += n
		if _, err := f.WriteAt([]byte{db[at] ^ 1}, int64(at)); err != nil {
			b.t.Fatal(err)
		}
		flipped++
	}
	if flipped == 0 {
		b.t.Fatalf("%s does not hold %q", path, text)
	}
}

// ended waits until a process has ended by itself. It checks the exit code 1, the last sentence, and that a hint follows.
func (b *bareNodes) ended(i int, sentence string) {
	b.t.Helper()
	p := b.nodes[i]
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		b.t.Fatal("the process does not end")
	}
	output, err := os.ReadFile(p.log.Name())
	if err != nil {
		b.t.Fatal(err)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		b.t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimRight(string(output), "\n"), "\n")
	if len(lines) < 2 || !regexp.MustCompile("^hm: .*"+sentence).MatchString(lines[len(lines)-2]) || !strings.HasPrefix(lines[len(lines)-1], "hint: ") {
		b.t.Errorf("it ends with %q", lines[max(0, len(lines)-3):])
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "panic") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "fatal error") {
			b.t.Fatalf("it ends in a panic: %s", line)
		}
	}
}

func TestE2EDamagedStoreAlone(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	b := newBareNodes(t, 1)
	b.hold("flipped", "its entry is to be damaged")
	b.nodes[0].signal(syscall.SIGTERM)
	b.flip(0, "its entry is to be damaged")
	b.nodes[0].start()
	b.ended(0, "the Raft store in .* is damaged, and no other node has a copy: entry [0-9]+ of the Raft log does not match its checksum$")
}

// TestE2EDamagedLeaderEndsAndHeals: an entry is damaged while the leader runs, and the leader has to send it to a node
// that was down. The leader's process ends. After a restart it takes the entry from its peers, which go on recording
// meanwhile.
func TestE2EDamagedLeaderEndsAndHeals(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	for range 5 { // the test needs another round if another node becomes the leader
		if damageLeader(t) {
			return
		}
	}
	t.Error("in every round another node became the leader")
}

func damageLeader(t *testing.T) (shown bool) {
	b := newBareNodes(t, 3)
	b.hold("first", "")
	leader := b.leader()
	away := (leader + 1) % 3
	b.nodes[away].signal(syscall.SIGTERM)
	b.hold("flipped", "its entry is to be damaged")
	for i := range 40 { // more entries than the leader caches
		b.hold(fmt.Sprintf("paused-%d", i%10), "")
	}
	b.flip(leader, "its entry is to be damaged")
	b.nodes[away].start()
	moved := false
	b.await("the leader ends, or no longer leads", func() bool {
		s, err := b.status(away)
		moved = err == nil && s.Cluster.Leader != "" && s.Cluster.Leader != fmt.Sprintf("hm-%d", leader) && len(s.Holds) > 10
		_, gone := b.status(leader)
		return moved || gone != nil
	})
	if _, err := b.status(leader); moved && err == nil {
		return false
	}
	b.ended(leader, "the Raft store in .* is damaged: entry [0-9]+ of the Raft log does not match its checksum$")
	b.hold("after", "")
	b.nodes[leader].start()
	b.await("the node has healed", func() bool {
		s, err := b.status(leader)
		if err != nil || s.Cluster.Leader == "" {
			return false
		}
		names := map[string]bool{}
		for _, h := range s.Holds {
			names[h.Name] = h.Reason == "its entry is to be damaged" || names[h.Name] || h.Name != "flipped"
		}
		for _, n := range s.Cluster.Nodes {
			if n.Fault != nil && n.Fault.Kind != cluster.FaultHealing {
				t.Fatalf("%s has the fault %+v", n.ID, n.Fault)
			}
			if n.Fault != nil {
				return false
			}
		}
		return names["first"] && names["flipped"] && names["after"]
	})
	if kept, _ := filepath.Glob(filepath.Join(b.dirs[leader], "raft", "raft.db.damaged-*")); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
	return true
}
