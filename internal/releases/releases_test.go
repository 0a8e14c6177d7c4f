package releases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/cluster"
	"hm/internal/journal"
	"hm/internal/recording"
	"hm/raftfsm"
)

// The files of a release, in its directory.
const (
	contentFile   = "content.json"  // what the files hold
	inventoryFile = "inventory.txt" // the state in words
	snapshotFile  = "state.hmsnap"  // as hm snapshot save gives it
	recordingFile = "node.jsonl"    // a recording of a node
	messageFile   = "message.bin"   // what a node sends to a peer first
	nodeDir       = "node"          // node.data_dir of a single node: raft/raft.db, raft/snapshots, journal.db
	nodeID        = "hm-0"          // of the node, and of the sender of the message
	releasesDir   = "../../testdata/releases"
)

// content says what the files of a release hold.
type content struct {
	Release     string         `json:"release"`
	Formats     map[string]int `json:"formats"`
	Kinds       []uint32       `json:"kinds"` // of record in the log
	Index       uint64         `json:"index"`
	Hash        string         `json:"hash"`
	HashVersion uint32         `json:"hash_version"`
	Events      int            `json:"events"`    // in the journal
	Recording   map[string]int `json:"recording"` // events by type
	API         string         `json:"api"`       // in the message
}

const patience = 30 * time.Second

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestReleases reads what every release wrote.
func TestReleases(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(releasesDir, "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("there are no releases: ", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var c content
			if err := json.Unmarshal(read(t, dir, contentFile), &c); err != nil {
				t.Fatal(err)
			}
			if c.Release != filepath.Base(dir) {
				t.Errorf("the content is that of release %s", c.Release)
			}
			t.Run("snapshot", func(t *testing.T) { readSnapshot(t, dir, c) })
			t.Run("node", func(t *testing.T) { readNode(t, dir, c) })
			t.Run("recording", func(t *testing.T) { readRecording(t, dir, c) })
			t.Run("message", func(t *testing.T) { readMessage(t, dir, c) })
		})
	}
}

// wantState checks a state against the release's.
func wantState(t *testing.T, dir string, c content, s *raftfsm.State) {
	t.Helper()
	if c.HashVersion == raftfsm.HashVersion && s.Hash().String() != c.Hash {
		t.Errorf("the state has the hash %s, it was written with %s", s.Hash(), c.Hash)
	}
	if got, want := inventory(s), string(read(t, dir, inventoryFile)); got != want {
		t.Errorf("the state holds\n%s\nit was written with\n%s", got, want)
	}
}

func readSnapshot(t *testing.T, dir string, c content) {
	f, err := os.Open(filepath.Join(dir, snapshotFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := raftfsm.RestoreState(f)
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, dir, c, s)
}

// readNode starts a node on a copy of the data directory: it restores the snapshot, replays the log, and goes on.
func readNode(t *testing.T, dir string, c content) {
	data := t.TempDir()
	if err := os.CopyFS(data, os.DirFS(filepath.Join(dir, nodeDir))); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, data, nil, nil)
	eventually(t, "the log is applied", func() bool { return n.View().Index() >= c.Index })
	wantState(t, dir, c, n.View())
	if aside, _ := filepath.Glob(filepath.Join(data, "raft", "*.damaged-*")); len(aside) > 0 {
		t.Errorf("set aside: %v", aside)
	}
	eventually(t, "the node records", func() bool {
		_, err := n.Propose(bounded(t), raftfsm.HoldReleased{Name: "none"})
		return err == nil
	})

	j, err := journal.New(journal.Options{Path: filepath.Join(data, "journal.db"), Node: nodeID, Entries: 1000, Logger: quiet(), Now: func() app.Time { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	j.Start()
	defer j.Close()
	events, more, err := j.Events(bounded(t), journal.Query{Limit: journal.MaxLimit})
	if err != nil || more || len(events) != c.Events {
		t.Errorf("the journal has %d events (more: %v, %v), it was written with %d", len(events), more, err, c.Events)
	}
	if s := j.Stats(); s.Unreadable > 0 || s.Replaced > 0 || s.Err != nil {
		t.Errorf("the journal is not read as it was written: %+v", s)
	}
}

func readRecording(t *testing.T, dir string, c content) {
	path := filepath.Join(dir, recordingFile)
	if got := countRecording(t, path); fmt.Sprint(got) != fmt.Sprint(c.Recording) {
		t.Errorf("the recording has %v, it was written with %v", got, c.Recording)
	}
}

// countRecording reads a recording, and gives the number of events of each type.
func countRecording(t *testing.T, path string) map[string]int {
	t.Helper()
	r, err := recording.NewReader(recording.Source{Name: path, Open: func() (io.ReadCloser, error) { return os.Open(path) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	names := map[recording.Type]string{recording.TypeNATS: "nats", recording.TypeDesired: "desired", recording.TypeLink: "link",
		recording.TypeLeader: "leader", recording.TypeState: "state", recording.TypeHold: "hold"}
	found := map[string]int{}
	var e recording.Event
	for {
		err := r.Next(&e)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[names[e.Type]]++
	}
}

// readMessage sends a node what a peer of the release sent, and looks whether the node understood it.
func readMessage(t *testing.T, dir string, c content) {
	l := listener(t)
	address := l.Addr().String()
	_ = l.Close()
	away := listener(t) // of the sender; nobody answers there
	defer away.Close()
	n := openAt(t, "hm-1", t.TempDir(), address, []cluster.Peer{{ID: nodeID, Address: away.Addr().String()}, {ID: "hm-1", Address: address}}, nil, nil)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(read(t, dir, messageFile)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is understood", func() bool {
		for _, m := range n.Members() {
			if m.ID == nodeID && m.HasInfo && m.Info.API == c.API && m.Info.Version == "v"+c.Release && m.Info.Kinds == uint32(c.Formats["entry_kinds"]) {
				return true
			}
		}
		if n.Stats().BadMessages > 0 {
			t.Fatal("the message is refused")
		}
		return false
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// openNode starts the single node on a data directory.
func openNode(t *testing.T, data string, applied func(raftfsm.Applied), change func(*cluster.Options)) *cluster.Node {
	t.Helper()
	l := listener(t)
	address := l.Addr().String()
	_ = l.Close()
	return openAt(t, nodeID, data, address, nil, applied, change)
}

func openAt(t *testing.T, id, data, address string, peers []cluster.Peer, applied func(raftfsm.Applied), change func(*cluster.Options)) *cluster.Node {
	t.Helper()
	o := cluster.Options{ID: id, DataDir: data, Listen: address, Peers: peers, OnApply: applied, Logger: quiet()}
	if change != nil {
		change(&o)
	}
	n, err := cluster.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// TestReleasesAreSmall bounds what every clone of the repository carries for ever.
func TestReleasesAreSmall(t *testing.T) {
	sizes := map[string]int64{}
	err := filepath.WalkDir(releasesDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			name, _ := filepath.Rel(releasesDir, path)
			release, _, _ := strings.Cut(filepath.ToSlash(name), "/")
			sizes[release] += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for release, size := range sizes {
		if size > 512<<10 {
			t.Errorf("the files of release %s have %d KiB, at most 512 are allowed", release, size>>10)
		}
	}
}
