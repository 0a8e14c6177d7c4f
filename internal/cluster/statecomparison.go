package cluster

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hm/raftfsm"
)

const (
	keptStates     = 8192             // newest states of this node, for the comparison with claims of peers
	keptClaims     = 32               // newest claims of a peer
	maxClaims      = 16               // in a message
	claimAge       = 10 * time.Second // a claim that was not repeated for so long does not count
	undecidedAfter = 2 * time.Second  // how long to wait for voters that could decide a difference
)

// strides say which states a node claims: for each stride, the newest state at an index that is a multiple of it. Nodes
// that apply entries fast send their messages at different indices; but at the longer strides they all claim the same
// indices for a while.
var strides = [...]uint64{1, 16, 256, 4096}

// stateClaim says which state a node has after an entry (I7).
type stateClaim struct {
	Index uint64 `json:"i"`
	Hash  string `json:"h"` // hex
}

// stateComparison compares this node's states with those that its peers claim.
//
// States that differ at one index differ at all later ones, because each state is built on the one before. So if a
// majority has this node's state at an index, this node is right up to there, and differences at or below that index do
// not count. Above it, if a majority agrees on another state, this node is wrong. If neither can happen, nobody can say
// who is right.
type stateComparison struct {
	mu        sync.Mutex
	ring      [keptStates]stateAt // by index modulo keptStates
	newest    [len(strides)]stateAt
	claimed   map[string][]peerClaim // by peer, the newest last
	proven    uint64                 // newest index at which a majority has this node's state
	undecided string                 // a difference that nobody can decide; empty if there is none
}

type stateAt struct {
	index uint64
	hash  raftfsm.Hash
}

// peerClaim is a state that a peer claimed.
type peerClaim struct {
	stateAt
	first, last time.Time // when the peer claimed it
}

// applied takes this node's state after an entry. It runs on the goroutine that applies entries.
func (w *stateComparison) applied(index uint64, hash raftfsm.Hash) {
	at := stateAt{index, hash}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ring[index%keptStates] = at
	for i, stride := range strides {
		if index%stride == 0 {
			w.newest[i] = at
		}
	}
}

// reset forgets this node's states, because the whole state was replaced by a snapshot.
func (w *stateComparison) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ring[:])
	clear(w.newest[:])
	w.proven = 0
}

// claims are the states that this node claims in its messages.
func (w *stateComparison) claims() (claims []stateClaim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, at := range w.newest {
		if at.index != 0 && !slices.Contains(w.newest[:i], at) {
			claims = append(claims, stateClaim{at.index, at.hash.String()})
		}
	}
	return claims
}

// checkClaims decodes the claims of a peer.
func checkClaims(claims []stateClaim) ([]stateAt, error) {
	if len(claims) > maxClaims {
		return nil, fmt.Errorf("it claims %d states, at most %d are allowed", len(claims), maxClaims)
	}
	states := make([]stateAt, len(claims))
	for i, c := range claims {
		states[i].index = c.Index
		if b, err := hex.DecodeString(c.Hash); err != nil || len(b) != len(states[i].hash) {
			return nil, fmt.Errorf("the hash of its state is invalid: %.40q", c.Hash)
		} else {
			states[i].hash = raftfsm.Hash(b)
		}
	}
	return states, nil
}

// keep forgets what others than the members claimed.
func (w *stateComparison) keep(isMember func(id string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.claimed, func(id string, _ []peerClaim) bool { return !isMember(id) })
}

// take keeps the states that a peer claims.
func (w *stateComparison) take(peer string, states []stateAt, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claimed == nil {
		w.claimed = map[string][]peerClaim{}
	}
	kept := slices.DeleteFunc(w.claimed[peer], func(c peerClaim) bool { return now.Sub(c.last) > claimAge })
	for _, at := range states {
		if i := slices.IndexFunc(kept, func(c peerClaim) bool { return c.stateAt == at }); i >= 0 {
			again := kept[i]
			again.last = now
			kept = append(slices.Delete(kept, i, i+1), again)
			continue
		}
		kept = append(kept, peerClaim{at, now, now})
	}
	w.claimed[peer] = kept[max(0, len(kept)-keptClaims):]
}

// wrongState is a state of this node that differs from a majority's.
type wrongState struct {
	index        uint64
	mine, theirs raftfsm.Hash
}

// compare compares this node's states with those that the voters claim. present says whether a voter is up. wrong is
// not nil if this node is wrong; differing are the peers that claim another state, sorted if wrong is nil.
func (w *stateComparison) compare(self string, voters []string, present func(id string) bool, now time.Time) (wrong *wrongState, differing []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.claimed {
		if !slices.Contains(voters, id) {
			delete(w.claimed, id)
		}
	}
	majority := len(voters)/2 + 1
	need := majority // number of peers that must have this node's state to prove it right
	if slices.Contains(voters, self) {
		need--
	}
	type difference struct {
		peerClaim
		by string
	}
	var agreed []uint64 // of each peer, the newest index at which it has this node's state
	var differences []difference
	for id, claims := range w.claimed {
		upTo := uint64(0)
		for _, c := range claims {
			mine := w.ring[c.index%keptStates]
			switch {
			case now.Sub(c.last) > claimAge || mine.index != c.index || c.index == 0:
			case mine.hash == c.hash:
				upTo = max(upTo, c.index)
			default:
				differences = append(differences, difference{c, id})
			}
		}
		agreed = append(agreed, upTo)
	}
	slices.Sort(agreed)
	if need == 0 {
		differences = nil
	} else if len(agreed) >= need {
		w.proven = max(w.proven, agreed[len(agreed)-need])
	}

	by := map[string]bool{}
	votes := map[stateAt]int{}
	late := false
	newest := difference{}
	for _, d := range differences {
		if !slices.Contains(differing, d.by) {
			differing = append(differing, d.by)
		}
		if d.index <= w.proven {
			continue
		}
		by[d.by] = true
		late = late || now.Sub(d.first) > undecidedAfter
		if d.index > newest.index {
			newest = d
		}
		if votes[d.stateAt]++; votes[d.stateAt] >= majority {
			w.undecided = ""
			return &wrongState{d.index, w.ring[d.index%keptStates].hash, d.hash}, differing
		}
	}
	slices.Sort(differing)
	w.undecided = ""
	if len(by) == 0 {
		return nil, differing
	}
	open := 0 // number of voters that may still decide it
	for _, id := range voters {
		if id != self && !by[id] && present(id) {
			open++
		}
	}
	if late || open < need && open+len(by) < majority {
		w.undecided = fmt.Sprintf("%s has another state after entry %d, and no majority of the voters agrees on either",
			newest.by, newest.index)
	}
	return nil, differing
}

// undecidedText describes a difference that nobody can decide; empty if there is none.
func (w *stateComparison) undecidedText() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.undecided
}

// checkState compares this node's state with that of its peers, and stops the node if it is wrong.
func (n *Node) checkState() {
	if n.Err() != nil {
		return
	}
	voters := n.voters()
	ids := make([]string, len(voters))
	for i, v := range voters {
		ids[i] = string(v.ID)
	}
	now := time.Now()
	before := n.states.undecidedText()
	wrong, differing := n.states.compare(n.opts.ID, ids, func(id string) bool {
		m, ok := n.peerStatus.latestFrom(id)
		return ok && now.Sub(m.at) <= staleAfter
	}, now)
	if wrong != nil {
		what := fmt.Sprintf("the state of %s after entry %d has the hash %s, but a majority of the voters has %s: the node would act on a wrong record",
			n.opts.ID, wrong.index, wrong.mine, wrong.theirs)
		marker := filepath.Join(n.stores.dir, differsMarker)
		if err := writeSynced(marker, what+"\n"); err != nil {
			n.opts.Logger.Error("cannot write the file that makes the next start copy the record from a peer",
				"module", "cluster", "file", marker, "error", err)
		}
		n.fail(&Damage{Dir: n.stores.dir, What: what, Kind: FaultState})
		return
	}
	after := n.states.undecidedText()
	switch {
	case after != "" && before == "":
		n.opts.Logger.Error("the states of the nodes differ and no majority agrees on one: this node sends no command until that is settled",
			"module", "cluster", "difference", after)
	case after == "" && before != "":
		n.opts.Logger.Info("the difference between the states of the nodes is settled", "module", "cluster", "was", before)
	case after == "" && len(differing) > 0:
		n.log.log(slog.LevelError, "state", "peers have another state than this node and a majority",
			"peers", differing)
	}
}
