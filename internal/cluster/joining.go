package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// joining keeps a node out of elections that may have forgotten what it acknowledged: one whose log was lost, with the
// whole disk or alone, and one that knows less than its peers remember of it (see memory). Raft takes it for granted
// that a node remembers. If it does not, its vote, or its own candidacy, could make a leader of a node that lacks
// entries which this node once helped to commit (I8).
//
// The node may take part again once it has everything that the leader had after the joining began, committed, and an
// entry of the present term with it: for whatever this node helped to commit, the leader has. In a new cluster there is
// no such entry and nobody to lose one: there it is enough that a majority of the members say that their logs are
// blank, and none says otherwise, or that it belongs to another cluster. As long as at most a minority lose their
// disks, a majority of blank logs means that nothing was ever recorded. Unless all have spoken, those who have not get
// hearingTime to do so.
type joining struct {
	active atomic.Bool
	marker string // file that outlasts a crash in the middle

	mu    sync.Mutex // held while the marker and active change
	since time.Time
	goal  logPosition // how far a leader's log reached after since, with the term in which it leads
}

const hearingTime = time.Second

var errJoining = errors.New("this node is joining: it may have forgotten what it acknowledged, and takes part in no election until it has caught up")

// joining finds out whether the node is joining, and leaves a mark in the directory if so. What counts is the log:
// snapshots do not say what was acknowledged after them. A node without peers has nobody to learn from.
func (s *stores) joining(o Options) (*joining, error) {
	j := &joining{marker: filepath.Join(s.dir, joiningMarker), since: time.Now()}
	if s.alone(o.Peers) {
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

// begin keeps the node out of elections from now on. It does so even if the marker cannot be written.
func (j *joining) begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active.Store(true)
	j.since, j.goal = time.Now(), logPosition{}
	return writeSynced(j.marker, "this node has not yet caught up with its cluster; hm removes this file when it has\n")
}

// end lets the node take part from now on.
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

// goalOf gives the index that this node must reach in a term: how far the leader's log reached when it was first heard
// in that term after the joining began. h is the newest message of the leader.
func (j *joining) goalOf(term uint64, h peerMessage) (index uint64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.goal.Term != term {
		if h.message.State != stateLeader || h.message.Term != term || h.at.Before(j.since) {
			return 0, false
		}
		j.goal = logPosition{term, h.message.Last.Index}
	}
	return j.goal.Index, true
}

// rejoin makes this node join anew: a peer remembers more of it than it has.
func (n *Node) rejoin(peer string, has, remembered logPosition) {
	if n.join.active.Load() {
		return
	}
	err := n.join.begin()
	n.opts.Logger.Error("a peer remembers more of this node than it has: an older copy must have been put into node.data_dir; this node takes part in no election until it has caught up",
		"module", "cluster", "peer", peer, "has", has, "remembered", remembered)
	if err != nil {
		n.opts.Logger.Error("cannot write down that this node is joining", "module", "cluster", "error", err)
	}
}

// judgeJoining ends the joining if what is known of the cluster allows it.
func (n *Node) judgeJoining() {
	if !n.join.active.Load() || n.stores.disk.stalled.Load() {
		return
	}
	why := ""
	switch {
	case n.clusterIsNew():
		why = "a majority of the members start from blank"
	case n.caughtUp():
		why = "it has caught up"
	default:
		return
	}
	if err := n.join.end(); err != nil {
		n.opts.Logger.Error("cannot end the joining of this node", "module", "cluster", "error", err)
		return
	}
	n.opts.Logger.Info("this node takes part in elections", "module", "cluster", "because", why)
}

// logIsBlank reports whether nothing but the first entry was ever stored here.
func (n *Node) logIsBlank() bool { return n.raft.LastIndex() <= 1 }

func (n *Node) clusterIsNew() bool {
	if !n.logIsBlank() || n.peerStatus.isRejected() || n.positions.owes().Index > 1 {
		return false
	}
	voters := n.voters()
	blank := 0
	for _, v := range voters {
		if string(v.ID) == n.opts.ID {
			blank++
			continue
		}
		h, ok := n.peerStatus.latestFrom(string(v.ID))
		switch {
		case !ok:
		case !h.message.Blank:
			return false
		default:
			blank++
		}
	}
	return blank == len(voters) || blank > len(voters)/2 && time.Since(n.join.began()) > hearingTime
}

// caughtUp reports whether this node holds everything that its leader held at some moment since the joining began,
// and knows it to be committed. That some entry of the present term is here and committed does not suffice: raft
// takes entries over in batches and counts each as committed at once, while what this node had acknowledged may come
// in a later one.
func (n *Node) caughtUp() bool {
	_, leader := n.raft.LeaderWithID()
	if leader == "" {
		return false
	}
	term, commit := n.raft.CurrentTerm(), n.raft.CommitIndex()
	h, _ := n.peerStatus.latestFrom(string(leader))
	if goal, ok := n.join.goalOf(term, h); !ok || commit <= 1 || commit < goal {
		return false
	}
	var entry raft.Log
	switch err := n.stores.log.GetLog(commit, &entry); {
	case err == nil:
	case errors.Is(err, raft.ErrLogNotFound): // it may be the one that a snapshot ended with
		snapshot := positionOf(n.raft.Stats(), "last_snapshot")
		if snapshot.Index != commit {
			return false
		}
		entry.Term = snapshot.Term
	default:
		return false
	}
	return entry.Term == term && n.raft.CurrentTerm() == term && !n.last().less(n.positions.owes())
}

// positionOf reads a mark from raft's statistics: what names the last entry of the log or the last snapshot.
func positionOf(stats map[string]string, what string) (m logPosition) {
	m.Index, _ = strconv.ParseUint(stats[what+"_index"], 10, 64)
	m.Term, _ = strconv.ParseUint(stats[what+"_term"], 10, 64)
	return m
}

// Joining reports whether this node began with an empty store and has not yet caught up with its cluster: what it shows
// may be less than it once acknowledged.
func (n *Node) Joining() bool { return n.join.active.Load() }

// joiningMarker is the file that says that this node has not yet caught up with its cluster.
const joiningMarker = "joining"

// healingWord begins the joining marker of a node that joins because it was damaged.
const healingWord = "damaged: "

// healing tells why a node that is joining does: what was damaged; empty if it is new or lost its disk.
func healing(marker string) string {
	text, err := readSmall(marker, 4<<10)
	if err != nil {
		return ""
	}
	what, ok := strings.CutPrefix(strings.TrimSpace(string(text)), healingWord)
	if !ok {
		return ""
	}
	return what
}
