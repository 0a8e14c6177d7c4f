package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/config/limits"
	"hm/raftfsm"
)

// A cluster that has lost a majority of its voters for ever records nothing any more. Recover makes one survivor the only
// voter of a new cluster with the same record. The other nodes that are kept copy the record from it, as nodes that are
// added do, so that no two survivors go on from records that differ.

// Survivor says what one data directory has. Nothing runs on it.
type Survivor struct {
	Dir      string // of the node's data
	Node     string // whose it is; empty if a version of hm wrote it that does not say
	Term     uint64 // of the newest entry, which may never have been committed
	Index    uint64
	Snapshot uint64 // newest entry that the newest snapshot has; 0 if there is none
	Hash     string // of the state after all entries
	Members  []Member
	// Reached says how far the logs of other members reached, as they told this node, at most a second before it ended.
	Reached []Reached
}

// Reached is how far the log of a member reached.
type Reached struct {
	ID          string
	Term, Index uint64
}

func (s Survivor) last() logPosition { return logPosition{s.Term, s.Index} }

// Newer reports whether s has more than o. Raft compares so before it gives a vote.
func (s Survivor) Newer(o Survivor) bool { return o.last().less(s.last()) }

// Ahead lists the members that told this node of entries which it does not have. Those entries may have been committed.
func (s Survivor) Ahead() (ahead []Reached) {
	for _, r := range s.Reached {
		if s.last().less(logPosition{r.Term, r.Index}) {
			ahead = append(ahead, r)
		}
	}
	return ahead
}

// Inspect reads what a data directory has. It fails if a node uses the directory.
func Inspect(dataDir string) (Survivor, error) {
	o, s, err := openStopped(dataDir)
	if err != nil {
		return Survivor{}, err
	}
	defer s.close()
	found, _, err := s.survivor(o)
	return found, err
}

// openStopped opens the stores of a node that does not run.
func openStopped(dataDir string) (o Options, s *stores, err error) {
	dir := filepath.Join(dataDir, "raft")
	if _, err := os.Stat(filepath.Join(dir, "raft.db")); err != nil {
		return o, nil, fmt.Errorf("there is no record in %s: %w", dataDir, err)
	}
	o = Options{
		DataDir: dataDir, ElectionTimeout: DefaultElectionTimeout, Logger: slog.New(slog.DiscardHandler),
	}
	if o.known, err = readMemberFile(dir); err != nil {
		return o, nil, err
	}
	s, err = openUndamaged(o, newSampledLog(o.Logger), false)
	if err != nil {
		return o, nil, explainAccess(dataDir, err)
	}
	return o, s, nil
}

// survivor reads the stores, and gives the state after all entries.
func (s *stores) survivor(o Options) (found Survivor, fsm *raftfsm.FSM, err error) {
	found = Survivor{Dir: o.DataDir, Node: o.known.Node}
	var members []raft.Server
	if s.newest != nil {
		found.Term, found.Index, found.Snapshot = s.newest.Term, s.newest.Index, s.newest.Index
		members = s.newest.Configuration.Servers
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return found, nil, err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return found, nil, err
	}
	fsm = raftfsm.NewFSM(func(raftfsm.Applied) {})
	if s.newest != nil {
		_, snapshot, err := s.snapshots.Open(s.newest.ID)
		if err != nil {
			return found, nil, fmt.Errorf("opening the newest snapshot: %w", err)
		}
		if err := fsm.Restore(snapshot); err != nil {
			return found, nil, fmt.Errorf("this version of hm cannot restore the newest snapshot: %w", err)
		}
	}
	for index := max(first, 1); index <= last && last > 0; index++ {
		var entry raft.Log
		if err := s.log.GetLog(index, &entry); err != nil {
			return found, nil, fmt.Errorf("reading entry %d: %w", index, err)
		}
		if entry.Type == raft.LogConfiguration {
			members = raft.DecodeConfiguration(entry.Data).Servers
		}
		if index <= found.Snapshot {
			continue
		}
		if entry.Type == raft.LogCommand {
			if err := applyTo(fsm, &entry); err != nil {
				return found, nil, err
			}
		}
		found.Term, found.Index = entry.Term, entry.Index
	}
	found.Hash = fsm.View().Hash().String()
	for _, m := range serversOf(members) {
		found.Members = append(found.Members, Member{ID: m.ID, Address: m.Address, Voter: m.Voter})
	}
	reached, err := readPeerPositions(filepath.Join(s.dir, "peers.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, nil, fmt.Errorf("reading how far the peers reached: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(reached)) {
		if id != found.Node {
			found.Reached = append(found.Reached, Reached{id, reached[id].Term, reached[id].Index})
		}
	}
	return found, fsm, nil
}

// applyTo applies an entry. An entry that this version of hm does not know is an error.
func applyTo(fsm *raftfsm.FSM, entry *raft.Log) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("this version of hm cannot apply entry %d: %v", entry.Index, p)
		}
	}()
	fsm.Apply(entry)
	return nil
}

// RecoverOptions say how a cluster goes on.
type RecoverOptions struct {
	DataDir string    // of the survivor
	ID      string    // of its node; empty: as the directory says
	Keep    []Peer    // the members of the new cluster, this node too
	Now     time.Time // names the backup
	Force   bool      // go on although another kept node has more
}

// Recovered says what was done.
type Recovered struct {
	Survivor          // before
	Backup   string   // what was replaced, as it was
	Lost     []string // members that are left out
}

// Recover makes the node of a data directory the only voter of a new cluster with its record. The other nodes that are
// kept copy the record and vote then. Everything that was replaced is kept in a backup. Nothing has changed if it fails.
func Recover(ro RecoverOptions) (done Recovered, err error) {
	o, s, err := openStopped(ro.DataDir)
	if err != nil {
		return done, err
	}
	defer func() {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if done.Survivor, _, err = s.survivor(o); err != nil {
		return done, err
	}
	if err := ro.check(&done); err != nil {
		return done, err
	}
	work := filepath.Join(ro.DataDir, "recovering")
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o750)); err != nil {
		return done, err
	}
	defer os.RemoveAll(work)
	if err := copyRecord(filepath.Join(work, "raft"), filepath.Join(ro.DataDir, "raft")); err != nil {
		return done, fmt.Errorf("copying the record: %w", explainFull(err))
	}
	if err := ro.rewrite(work, done.Lost); err != nil {
		return done, err
	}
	err, s = s.close(), nil
	if err != nil {
		return done, err
	}
	done.Backup, err = replaceRecord(ro.DataDir, filepath.Join(work, "raft"), ro.Now)
	return done, err
}

// check refuses members that make no sense, and a survivor that is not the newest.
func (ro *RecoverOptions) check(done *Recovered) error {
	if ro.ID == "" {
		ro.ID = done.Node
	}
	if ro.ID == "" {
		return errors.New("the data directory does not say whose it is: name the node with --id")
	}
	if done.Node != "" && done.Node != ro.ID {
		return fmt.Errorf("%s belongs to the node %s, not to %s", ro.DataDir, done.Node, ro.ID)
	}
	if len(ro.Keep) > MaxMembers {
		return fmt.Errorf("%d members are too many: at most %d are allowed", len(ro.Keep), MaxMembers)
	}
	addresses := map[string]string{}
	kept := map[string]bool{}
	for _, p := range ro.Keep {
		if err := limits.NodeID(p.ID); err != nil {
			return fmt.Errorf("the id of a member %w", err)
		}
		if _, _, err := limits.Reachable(p.Address); err != nil {
			return fmt.Errorf("the address %.200q of %s %w", p.Address, p.ID, err)
		}
		if kept[p.ID] || addresses[p.Address] != "" {
			return fmt.Errorf("%s=%s: an id and an address occur once", p.ID, p.Address)
		}
		kept[p.ID], addresses[p.Address] = true, p.ID
	}
	if !kept[ro.ID] {
		return fmt.Errorf("the members to keep must contain %s, whose data this is", ro.ID)
	}
	for _, m := range done.Members {
		if !kept[m.ID] {
			done.Lost = append(done.Lost, m.ID)
		}
	}
	for _, r := range done.Ahead() {
		if kept[r.ID] && !ro.Force {
			return &Refusal{Text: fmt.Sprintf("%s told this node that its log reaches term %d, index %d, and this one ends with term %d, index %d: %s is newer",
				r.ID, r.Term, r.Index, done.Term, done.Index, r.ID), Hint: "recover from the data of " + r.ID + "; or with --force from this, and lose what only " + r.ID + " has", Forced: true}
		}
	}
	return nil
}

// rewrite makes the record in dataDir one of a new cluster: a snapshot of everything, and one entry that names the
// members. A log without an entry would mean that the node may have forgotten something.
func (ro RecoverOptions) rewrite(dataDir string, lost []string) error {
	o, s, err := openStopped(dataDir)
	if err != nil {
		return err
	}
	defer func() {
		if s != nil {
			_ = s.close() // the first error says more
		}
	}()
	found, fsm, err := s.survivor(o)
	if err != nil {
		return err
	}
	var members raft.Configuration
	for _, p := range ro.Keep {
		members.Servers = append(members.Servers, server{p.ID, p.Address, p.ID == ro.ID}.raft())
	}
	term, err := s.values.GetUint64(keyCurrentTerm)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("reading the term: %w", err)
	}
	term = max(term, found.Term) + 1
	if err := s.writeSnapshot(fsm, found, members); err != nil {
		return fmt.Errorf("writing a snapshot of the record: %w", explainFull(err))
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 {
		if err := s.log.DeleteRange(first, last); err != nil {
			return fmt.Errorf("removing the old entries: %w", err)
		}
	}
	entry := raft.Log{Index: found.Index + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members), AppendedAt: ro.Now}
	if err := s.log.StoreLog(&entry); err != nil {
		return fmt.Errorf("writing the entry that names the members: %w", explainFull(err))
	}
	if err := s.values.SetUint64(keyCurrentTerm, term); err != nil {
		return fmt.Errorf("writing the term: %w", explainFull(err))
	}
	err, s = s.close(), nil
	if err != nil {
		return err
	}
	dir := filepath.Join(dataDir, "raft")
	for _, name := range []string{"peers.json", joiningMarker, differsMarker} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return memberFile{Node: ro.ID, Index: entry.Index, Members: serversOf(members.Servers), Lost: lost}.write(dir)
}

func (s *stores) writeSnapshot(fsm *raftfsm.FSM, at Survivor, members raft.Configuration) error {
	snapshot, err := fsm.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Release()
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, at.Index, at.Term, members, 1, trans)
	if err != nil {
		return err
	}
	if err := snapshot.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// SetRecordAside makes a node that is kept forget its record, so that it copies that of the survivor from which the
// cluster was recovered. What it had is kept in a backup.
func SetRecordAside(ro RecoverOptions) (done Recovered, err error) {
	o, s, err := openStopped(ro.DataDir)
	if err != nil {
		return done, err
	}
	done.Survivor, _, err = s.survivor(o)
	if err := errors.Join(err, s.close()); err != nil {
		return done, err
	}
	ro.Force = true // that another one has more is as it should be
	if err := ro.check(&done); err != nil {
		return done, err
	}
	work := filepath.Join(ro.DataDir, "recovering")
	dir := filepath.Join(work, "raft")
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(dir, 0o750)); err != nil {
		return done, err
	}
	defer os.RemoveAll(work)
	err = errors.Join(
		writeSynced(filepath.Join(dir, joiningMarker), setAsidePrefix+"this node waits to be added to a cluster; hm removes this file when it has caught up\n"),
		memberFile{Node: ro.ID, Lost: done.Lost}.write(dir))
	if err != nil {
		return done, err
	}
	done.Backup, err = replaceRecord(ro.DataDir, dir, ro.Now)
	return done, err
}

// replaceRecord puts a new record in the place of the old one, which it keeps.
func replaceRecord(dataDir, fresh string, now time.Time) (backup string, err error) {
	dir := filepath.Join(dataDir, "raft")
	backup = filepath.Join(dataDir, "raft.before-recovery-"+now.UTC().Format("20060102T150405Z"))
	if _, err := os.Lstat(backup); err == nil {
		return "", fmt.Errorf("%s exists: move it away", backup)
	}
	if err := os.Rename(dir, backup); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", errors.Join(err, os.Rename(backup, dir))
	}
	return backup, syncDir(dataDir)
}

// copyRecord copies the files below a directory, and no links.
func copyRecord(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.IsDir() && strings.Contains(e.Name(), ".damaged-"):
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(target, 0o750)
		case e.Type().IsRegular() && !strings.Contains(e.Name(), ".damaged-"):
			return copyFile(target, path)
		}
		return nil
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// Newest gives the place of the survivor that has most.
func Newest(all []Survivor) int {
	best := 0
	for i := range all {
		if all[i].Newer(all[best]) {
			best = i
		}
	}
	return best
}
