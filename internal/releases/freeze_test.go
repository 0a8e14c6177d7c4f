package releases

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/cluster"
	"hm/internal/formats"
	"hm/internal/journal"
	"hm/internal/recording"
	"hm/raftfsm"
)

var freeze = flag.String("freeze", "", "write testdata/releases/VERSION, such as 0.1.0, with what this version of hm writes")

// TestFreeze writes the files of a release, if it is asked to. A release that is there is never written again.
func TestFreeze(t *testing.T) {
	if *freeze == "" {
		t.Skip("go test ./internal/releases -run TestFreeze -freeze 0.1.0 writes the files of a release")
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(*freeze) {
		t.Fatalf("-freeze %s: want a version such as 0.1.0", *freeze)
	}
	dir := filepath.Join(releasesDir, *freeze)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is there: the files of a release never change; delete it only if %s was never released", dir, *freeze)
	}
	if err := exec.Command("git", "rev-parse", "--verify", "--quiet", "v"+*freeze).Run(); err == nil {
		t.Fatalf("v%s is tagged: the files of a release never change", *freeze)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	c := content{Release: *freeze, Formats: formats.Versions(), HashVersion: raftfsm.HashVersion}
	state := writeNode(t, fresh, &c)
	var snap bytes.Buffer
	if err := state.WriteSnapshot(&snap); err != nil {
		t.Fatal(err)
	}
	writeRecording(t, fresh, &c, state)
	writeMessage(t, fresh, &c)
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{snapshotFile: snap.Bytes(), inventoryFile: []byte(inventory(state)), contentFile: append(text, '\n')} {
		if err := os.WriteFile(filepath.Join(fresh, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(dir, os.DirFS(fresh)); err != nil {
		t.Fatal(err)
	}
}

// guid makes a guid in one of the three forms that hm stores differently.
func guid(kind byte, n int) app.GUID {
	switch n % 3 {
	case 0:
		return app.MustGUID(fmt.Sprintf("%c%07d-0000-4000-8000-%012d", kind, n, n))
	case 1:
		return app.MustGUID(fmt.Sprintf("%c%031d", kind, n))
	}
	return app.MustGUID(fmt.Sprintf("%c-%d-by-hand", kind, n))
}

func key(n int) app.Key { return app.Key{Droplet: guid('a', n), Version: guid('b', n)} }

func instance(n, index int, state actual.State) actual.Instance {
	return actual.Instance{App: key(n), GUID: guid('c', 10*n+index), Index: uint32(index), State: state, Since: 1_790_000_000_000 + int64(n)}
}

// writeNode runs a node, has it record something of every kind, and keeps its directory.
func writeNode(t *testing.T, dir string, c *content) *raftfsm.State {
	t.Helper()
	data := t.TempDir()
	var j *journal.Journal
	kinds := map[uint32]bool{}
	j, err := journal.New(journal.Options{Path: filepath.Join(data, "journal.db"), Node: nodeID, Entries: 1000, Logger: quiet(), Now: func() app.Time { return 1_790_000_000_000 }})
	if err != nil {
		t.Fatal(err)
	}
	n := openNode(t, data, func(a raftfsm.Applied) {
		j.Applied(a)
		for _, r := range a.Entry.Records {
			kinds[uint32(r.Kind())] = true
		}
	}, func(o *cluster.Options) {
		o.Version, o.SnapshotThreshold, o.SnapshotInterval = "v"+c.Release, 8, time.Second
	})
	j.Start()
	record := func(recs ...raftfsm.Record) {
		t.Helper()
		eventually(t, "the node leads", func() bool { return n.Leadership().Leader })
		res, err := n.Propose(bounded(t), recs...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res {
			if r.Err != nil || len(r.Refused) > 0 {
				t.Fatalf("%v: %v, refused %+v", recs, r.Err, r.Refused)
			}
		}
	}
	id, err := raftfsm.ParseClusterID("0f0e0d0c-0b0a-4900-8807-060504030201")
	if err != nil {
		t.Fatal(err)
	}
	record(raftfsm.ClusterNamed{ID: id})
	rows := func(from, to int) (apps []desired.App) {
		for i := from; i < to; i++ {
			apps = append(apps, desired.App{Key: key(i), Instances: uint32(1 + i%3), State: desired.Started, Package: desired.Staged})
		}
		return apps
	}
	record(raftfsm.DesiredChanges{Generation: 1, Upserts: rows(0, 8)})
	record(raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{{Key: key(8), Instances: 2, State: desired.Stopped, Package: desired.Failed}}})
	record(raftfsm.DesiredCommit{Generation: 1, Parts: 2, Source: "bulk http://cc.example"})
	for d := range 3 {
		var list []actual.Instance
		for i := d; i < 8; i += 3 {
			list = append(list, instance(i, 0, actual.Running))
		}
		record(raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%d", d), Upserts: list})
	}
	record(raftfsm.DEAChanges{DEA: "dea-0", Upserts: []actual.Instance{instance(1, 1, actual.Crashed), instance(4, 1, actual.Starting), instance(7, 1, actual.Evacuating), instance(9, 0, actual.Running)}})
	record(raftfsm.DEAChanges{DEA: "dea-3"}, raftfsm.DEAChanges{DEA: "dea-4"})
	record(raftfsm.DEAsGone{DEAs: []string{"dea-3", "dea-4"}})
	record(raftfsm.DEAsForgotten{DEAs: []string{"dea-4"}})
	record(raftfsm.InstanceExited{Exit: actual.Exit{App: key(2), Instance: guid('c', 20), Index: 0, Reason: actual.ExitCrashed}})
	eventually(t, "there is a snapshot", func() bool { return n.Stats().SnapshotIndex > 0 })

	// The rest is in the log alone.
	ids := []commands.ID{{0xc0, 1, 15: 1}, {0xc0, 2, 15: 1}, {0xc0, 3, 15: 1}}
	record(raftfsm.CommandsScheduled{Commands: []commands.Command{
		{ID: ids[0], Action: commands.Start, App: key(2), Index: 1, Reason: commands.ReasonMissing, Priority: 0.5, DueAt: 20_000},
		{ID: ids[1], Action: commands.Start, App: key(5), Index: 1, Reason: commands.ReasonMissing, Priority: 0.5, DueAt: 20_000},
		{ID: ids[2], Action: commands.Stop, App: key(9), Index: 0, Instance: guid('c', 90), Reason: commands.ReasonExtra, DueAt: 20_000},
	}})
	var claims []raftfsm.Claim
	for _, id := range ids[:2] {
		v := n.View()
		cmd, ok := v.Command(id)
		if !ok {
			t.Fatalf("the command %s is not recorded", id)
		}
		claims = append(claims, raftfsm.Claim{ID: id, Term: n.Leadership().Term, Basis: v.Basis(cmd.App, cmd.Index)})
	}
	record(raftfsm.CommandsClaimed{Claims: claims})
	record(raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: ids[0], State: commands.Sent}, {ID: ids[2], State: commands.Dropped, Detail: "no longer needed"}}})
	record(raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "paused", Reason: "an upgrade", By: "ada"}}, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "mass-loss", Reason: "3 of 4"}})
	record(raftfsm.HoldReleased{Name: "mass-loss"})
	record(raftfsm.CrashesForgotten{Crashes: []raftfsm.CrashRef{{App: key(1), Index: 7}}})
	record(raftfsm.Noted{Notes: []raftfsm.Note{{Event: "leader.changed", Name: nodeID, Reason: "start", Counts: []raftfsm.NoteCount{{Name: "apps", N: 9}}}}})
	record(raftfsm.DesiredChanges{Generation: 2, Upserts: rows(9, 11)}) // a read that was not finished
	state := n.View()
	if err := j.AwaitStored(bounded(t), state.Index()); err != nil {
		t.Fatal(err)
	}
	events, _, err := j.Events(bounded(t), journal.Query{Limit: journal.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	for k := raftfsm.Kind(1); k <= raftfsm.MaxKind; k++ {
		if !kinds[uint32(k)] {
			t.Errorf("the log has no record of kind %d (%s): add one to writeNode", k, k)
		}
	}
	c.Kinds = slices.Sorted(maps.Keys(kinds))
	c.Index, c.Hash, c.Events = state.Index(), state.Hash().String(), len(events)
	if err := os.CopyFS(filepath.Join(dir, nodeDir), os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for _, db := range []string{"raft/raft.db", "journal.db"} {
		shrink(t, filepath.Join(dir, nodeDir, db))
	}
	return state
}

// shrink makes a bbolt file as small as its content: bbolt makes files larger than they need.
func shrink(t *testing.T, path string) {
	t.Helper()
	old, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := bbolt.Open(path+".small", 0o644, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err == nil {
		err = errors.Join(bbolt.Compact(fresh, old, 0), fresh.Close())
	}
	if err := errors.Join(err, old.Close(), os.Rename(path+".small", path)); err != nil {
		t.Fatal(err)
	}
}

func writeRecording(t *testing.T, dir string, c *content, state *raftfsm.State) {
	t.Helper()
	path := filepath.Join(dir, recordingFile)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := recording.WriteTo(f, recording.WriterOptions{Header: recording.Header{Note: "what hm " + c.Release + " writes", Node: nodeID}})
	at := func(n int) time.Time { return state.Time().Std().Add(time.Duration(n) * time.Second) }
	beat := func(dea string) []byte {
		return fmt.Appendf(nil, `{"dea":%q,"droplets":[{"droplet":%q,"version":%q,"instance":%q,"index":0,"state":"RUNNING","state_timestamp":1790000000}]}`, dea, key(0).Droplet, key(0).Version, guid('c', 0))
	}
	read := desired.Read{Source: "bulk", Apps: []desired.App{{Key: key(0), Instances: 1, State: desired.Started, Package: desired.Staged}}}
	err = errors.Join(w.State(at(0), state), w.Link(at(1), true, false), w.Leader(at(2)),
		w.Message(at(3), "dea.heartbeat", beat("dea-0")), w.Message(at(13), "dea.heartbeat", beat("dea-0")),
		w.Message(at(14), "droplet.exited", fmt.Appendf(nil, `{"cc_partition":"default","droplet":%q,"version":%q,"instance":%q,"index":0,"reason":"CRASHED"}`, key(0).Droplet, key(0).Version, guid('c', 0))),
		w.Desired(at(15), at(14), read, nil), w.Desired(at(16), at(15), desired.Read{}, errors.New("the Cloud Controller answers 500")),
		w.Desired(at(17), at(16), read, nil), w.Link(at(18), false, false), w.Leaderless(at(19)), w.Close(), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	c.Recording = countRecording(t, path)
}

// writeMessage keeps what a node sends to its peer.
func writeMessage(t *testing.T, dir string, c *content) {
	t.Helper()
	peer := listener(t)
	defer peer.Close()
	own := listener(t)
	address := own.Addr().String()
	_ = own.Close()
	n := openAt(t, nodeID, t.TempDir(), address, []cluster.Peer{{ID: nodeID, Address: address}, {ID: "hm-1", Address: peer.Addr().String()}}, nil, nil)
	c.API = "10.0.0.1:5155"
	n.SetInfo(cluster.PeerInfo{API: c.API, NATSUp: true, AppliedIndex: 7, Kinds: uint32(raftfsm.MaxKind), SnapshotFormat: raftfsm.SnapshotFormat,
		Version: "v" + c.Release, Gate: "not-leader", HeardDEAs: 3, HearingComplete: true, DesiredReadApps: 9})
	for end := time.Now().Add(patience); ; {
		if time.Now().After(end) {
			t.Fatal("the node sends no message")
		}
		conn, err := peer.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if message, err := firstMessage(conn); err == nil && strings.Contains(string(message), c.API) {
			if err := os.WriteFile(filepath.Join(dir, messageFile), message, 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// firstMessage reads what a peer sends on a new connection: the byte that says what the connection is for, and a frame.
func firstMessage(conn net.Conn) ([]byte, error) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[5:])
	if head[0] != 2 || size > 64<<10 {
		return nil, errors.New("it is no message")
	}
	body := make([]byte, size)
	_, err := io.ReadFull(conn, body)
	return append(head, body...), err
}
