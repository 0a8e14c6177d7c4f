package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// joining keeps this node out of elections while it may have forgotten what it acknowledged: its log was lost, alone or
// with the whole disk, or its peers remember that it had more (see peerPositions). Raft assumes that a node remembers.
// If this node does not, its vote, or its own candidacy, could elect a leader that lacks entries which this node once
// helped to commit (I8).
//
// The joining ends when this node has everything that the leader's log had after the joining began, committed, and with
// it an entry of the present term: the leader has whatever this node helped to commit.
//
// Until then it takes entries only from a leader whose term is not older than what enough voters told it: so many that
// one of them took part in any election in which this node voted (see mayFollow). It has forgotten the term as well, and
// a leader that was deposed and does not know it yet, because it stood still, would make up a majority with it.
//
// Who the voters are it may have forgotten, too: the first entry, which it wrote itself, names those of raft.peers, and
// the beginning of the log those of long ago. So members tell a joining node whom they take for voters, and it must hear
// enough of each such list. The first election after the leader's term took place among the voters that the leader knows,
// or one more, or one less.
//
// A new cluster has no such entry, and nothing to lose. There the joining ends when a majority of the members say that
// their logs are blank, and no member says that its log is not blank or that this node is not a member. If at most a
// minority lost their disks, a majority of blank logs means that nothing was ever recorded. Members that have not sent
// a message get newClusterWait to do so.
type joining struct {
	active atomic.Bool
	self   string // the id of this node
	marker string // path of a file that exists as long as the node is joining, so that it goes on after a crash

	mu    sync.Mutex // held while the marker and active change
	since time.Time
	goal  logPosition         // how far a leader's log reached after since, with the term of the leader
	told  map[string]toldTerm // what each voter told after since; only of those that remember
	own   []string            // the voters as this node knows them, in case that nobody tells
}

// toldTerm is what one voter told.
type toldTerm struct {
	term   uint64   // the newest
	voters []string // whom it takes for voters; nil: its version does not tell
}

const newClusterWait = time.Second

var errJoining = errors.New("this node is joining: it may have forgotten what it acknowledged, and takes part in no election until it has caught up")

// joining finds out whether the node is joining, and writes the marker if so. Only the log counts: snapshots do not say
// what was acknowledged after them. A node without peers never joins.
func (s *stores) joining(o Options) (*joining, error) {
	j := &joining{self: o.ID, marker: filepath.Join(s.dir, joiningMarker), since: time.Now()}
	if s.alone(o) {
		return j, nil
	}
	_, err := os.Stat(j.marker)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	if err == nil {
		j.active.Store(true)
	} else if s.blank {
		if err := j.begin(); err != nil {
			return nil, fmt.Errorf("node.data_dir: %w", explainFull(err))
		}
	}
	return j, nil
}

// begin starts the joining. It does so even if the marker cannot be written.
func (j *joining) begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active.Store(true)
	j.since, j.goal, j.told, j.own = time.Now(), logPosition{}, nil, nil
	return writeSynced(j.marker, joiningText)
}

// end ends the joining.
func (j *joining) end() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := os.Remove(j.marker); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	j.active.Store(false)
	return nil
}

func (j *joining) began() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.since
}

// goalOf gives the index that this node must reach in a term: how far the leader's log reached in its first message of
// that term after the joining began. leader is the leader's newest message.
func (j *joining) goalOf(term uint64, leader peerMessage) (index uint64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.goal.Term != term {
		if leader.message.State != stateLeader || leader.message.Term != term || leader.at.Before(j.since) {
			return 0, false
		}
		j.goal = logPosition{term, leader.message.Last.Index}
	}
	return j.goal.Index, true
}

// hear takes what a voter told. now are the voters as this node knows them. A voter that is joining does not count,
// because it may have forgotten a term.
func (j *joining) hear(from string, told toldTerm, forgetful bool, now []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.own = now
	maps.DeleteFunc(j.told, func(id string, _ toldTerm) bool { return !slices.Contains(now, id) })
	if !j.active.Load() || forgetful || !slices.Contains(now, from) {
		return
	}
	if j.told == nil {
		j.told = map[string]toldTerm{}
	}
	told.term = max(told.term, j.told[from].term)
	j.told[from] = told
}

// heardEnough reports whether enough voters have told their terms, whoever is right about who the voters are. The caller
// holds j.mu.
func (j *joining) heardEnough() bool {
	var lists [][]string
	for _, t := range j.told {
		if len(t.voters) > 0 {
			lists = append(lists, t.voters)
		}
	}
	if len(lists) == 0 && len(j.own) > 0 {
		lists = append(lists, j.own)
	}
	for _, voters := range lists {
		others, heard := 0, 0
		for _, id := range voters {
			if id == j.self {
				continue
			}
			others++
			if _, ok := j.told[id]; ok {
				heard++
			}
		}
		if heard < others+1-(others+1)/2 {
			return false
		}
	}
	return len(lists) > 0 && len(j.told) > 0
}

// Why a joining node does not take a leader's entries.
var (
	errTermsUnknown = errors.New("the node is joining and may have forgotten a later term: it first waits for word from more members")
	errDeposed      = errors.New("the node is joining and has learned of a later term")
)

// mayFollow gives the reason why this node must not take entries or heartbeats from the leader of a term; nil if it may.
//
// Of n voters, n/2 others took part in each election in which this node voted. If n-n/2 of the n-1 others have told
// their terms since, one of those is among them, and its term is not older than that election's.
func (j *joining) mayFollow(term uint64) error {
	if !j.active.Load() {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.heardEnough() {
		return errTermsUnknown
	}
	for _, later := range j.told {
		if later.term > term {
			return errDeposed
		}
	}
	return nil
}

// hearTerm takes the term of a member's message, and whom that member takes for voters.
func (n *Node) hearTerm(m message) {
	told := toldTerm{term: m.Term}
	for _, s := range m.Members {
		if s.Voter {
			told.voters = append(told.voters, s.ID)
		}
	}
	n.join.hear(m.From, told, m.Joining, idsOf(n.voters()))
}

// rejoin makes this node join again, because a peer remembers that its log had more.
func (n *Node) rejoin(peer string, has, remembered logPosition) {
	if n.join.active.Load() {
		return
	}
	err := n.join.begin()
	n.opts.Logger.Error("a peer remembers that the log of this node had more: most likely node.data_dir was replaced by an older copy; this node takes part in no election until it has caught up",
		"module", "cluster", "peer", peer, "has", has, "remembered", remembered)
	if err != nil {
		n.opts.Logger.Error("cannot write the file that marks this node as joining",
			"module", "cluster", "file", n.join.marker, "error", err)
	}
}

// checkJoining ends the joining if it may end now.
func (n *Node) checkJoining() {
	if !n.join.active.Load() || n.stores.disk.stalled.Load() {
		return
	}
	why := ""
	switch {
	case n.clusterIsNew():
		why = "the logs of a majority of the members are blank"
	case n.caughtUp():
		why = "it has caught up"
	default:
		return
	}
	if err := n.join.end(); err != nil {
		n.opts.Logger.Error("cannot remove the file that marks this node as joining", "module", "cluster", "error", err)
		return
	}
	n.peerStatus.forgetMembers()
	n.opts.Logger.Info("this node takes part in elections", "module", "cluster", "because", why)
}

// logIsBlank reports whether nothing but the first entry was ever stored here.
func (n *Node) logIsBlank() bool { return n.raft.LastIndex() <= 1 }

// clusterIsNew reports whether no member of the cluster can have recorded anything; see joining.
func (n *Node) clusterIsNew() bool {
	if n.opts.Join || !n.logIsBlank() || n.peerStatus.isRejected() || n.positions.ownHighest().Index > 1 {
		return false
	}
	voters := n.voters()
	blank := 0
	for _, v := range voters {
		if string(v.ID) == n.opts.ID {
			blank++
			continue
		}
		m, ok := n.peerStatus.latestFrom(string(v.ID))
		switch {
		case !ok:
		case !m.message.Blank:
			return false
		default:
			blank++
		}
	}
	return blank == len(voters) || blank > len(voters)/2 && time.Since(n.join.began()) > newClusterWait
}

// caughtUp reports whether this node has everything that its leader had at some time since the joining began, and knows
// that it is committed. An entry of the present term that is committed here does not suffice: raft sends entries in
// batches and commits each batch at once, and a later batch may have entries that this node once acknowledged.
func (n *Node) caughtUp() bool {
	_, leader := n.raft.LeaderWithID()
	if leader == "" {
		return false
	}
	term, commit := n.raft.CurrentTerm(), n.raft.CommitIndex()
	m, _ := n.peerStatus.latestFrom(string(leader))
	if goal, ok := n.join.goalOf(term, m); !ok || commit <= 1 || commit < goal {
		return false
	}
	if m.message.Voters != "" && m.message.Voters != n.voterMark() {
		return false // the first entry, which this node wrote itself, names others: the leader will name the members again
	}
	var entry raft.Log
	switch err := n.stores.log.GetLog(commit, &entry); {
	case err == nil:
	case errors.Is(err, raft.ErrLogNotFound): // it may be the last entry of a snapshot
		snapshot := positionOf(n.raft.Stats(), "last_snapshot")
		if snapshot.Index != commit {
			return false
		}
		entry.Term = snapshot.Term
	default:
		return false
	}
	return entry.Term == term && n.raft.CurrentTerm() == term && !n.logEnd().less(n.positions.ownHighest())
}

// positionOf reads a position from raft's statistics; what is "last_log" or "last_snapshot".
func positionOf(stats map[string]string, what string) (m logPosition) {
	m.Index, _ = strconv.ParseUint(stats[what+"_index"], 10, 64)
	m.Term, _ = strconv.ParseUint(stats[what+"_term"], 10, 64)
	return m
}

// Joining reports whether this node may have forgotten what it acknowledged and has not yet caught up with its cluster.
// Until then its state may lack entries that it once had.
func (n *Node) Joining() bool { return n.join.active.Load() }

// joiningMarker is the name of the file that says that this node has not yet caught up with its cluster.
const joiningMarker = "joining"

// joiningText is the text of the joining marker of a node that lost its log.
const joiningText = "this node has not yet caught up with its cluster; hm removes this file when it has\n"

// setAsidePrefix begins the text of the joining marker if hm cluster recover set the record of this node aside. Then the
// node founds no cluster, whatever its configuration says.
const setAsidePrefix = "set aside: "

// wasSetAside reports whether hm cluster recover set the record of the node in dir aside, and it has not joined yet.
func wasSetAside(dir string) bool {
	text, err := readSmall(filepath.Join(dir, joiningMarker), 4<<10)
	return err == nil && strings.HasPrefix(string(text), setAsidePrefix)
}

// healingPrefix begins the text of the joining marker if the node joins because it was damaged.
const healingPrefix = "damaged: "

// healing reads from the joining marker what was damaged; empty if the node joins for another reason.
func healing(marker string) string {
	text, err := readSmall(marker, 4<<10)
	if err != nil {
		return ""
	}
	what, ok := strings.CutPrefix(strings.TrimSpace(string(text)), healingPrefix)
	if !ok {
		return ""
	}
	return what
}
