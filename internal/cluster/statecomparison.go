package cluster

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hm/raftfsm"
)

const (
	keptStates     = 8192             // newest states of this node that can be compared with what a peer tells
	keptClaims     = 32               // newest claims of a peer
	maxClaims      = 16               // in a message
	claimAge       = 10 * time.Second // a claim that was not told again for so long counts no more
	undecidedAfter = 2 * time.Second  // how long a disagreement may stand while those who could decide it have yet to speak
)

// strides say which states a node tells: of each, the newest at an index that is a multiple of it. Nodes that apply fast
// are never at the same index when they speak; of the greater strides they all tell the same indices for a while.
var strides = [...]uint64{1, 16, 256, 4096}

// stateClaim says which state a node has after an entry (I7).
type stateClaim struct {
	Index uint64 `json:"i"`
	Hash  string `json:"h"` // hex
}

// stateComparison compares this node's state with what its peers tell of theirs.
//
// A state that once differs at an index stays different, since what is recorded builds on what was. So a majority that
// has this node's state at some index proves it right up to there, and an accusation at or before that index is of no
// account, whoever makes it and however often. Beyond, a majority that agrees on another state convicts this node. Where
// neither can come about, nobody can tell who is right.
type stateComparison struct {
	mu     sync.Mutex
	ring   [keptStates]stateAt // by index modulo its length
	newest [len(strides)]stateAt
	heard  map[string][]heardClaim // by peer, what was told last is the last
	proven uint64                  // newest index at which a majority has this node's state
	open   string                  // the disagreement that nobody can decide; empty if there is none
}

type stateAt struct {
	index uint64
	hash  raftfsm.Hash
}

type heardClaim struct {
	stateAt
	first, last time.Time // when it was told
}

// applied takes in the state after an entry. It runs on the goroutine that applies.
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

// reset forgets this node's states: the whole state was replaced, and what comes does not build on what was.
func (w *stateComparison) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ring[:])
	clear(w.newest[:])
	w.proven = 0
}

// claims are what this node tells of its states.
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

// checkClaims decodes what a peer tells.
func checkClaims(claims []stateClaim) ([]stateAt, error) {
	if len(claims) > maxClaims {
		return nil, fmt.Errorf("it tells %d states, at most %d are allowed", len(claims), maxClaims)
	}
	told := make([]stateAt, len(claims))
	for i, c := range claims {
		told[i].index = c.Index
		if b, err := hex.DecodeString(c.Hash); err != nil || len(b) != len(told[i].hash) {
			return nil, fmt.Errorf("the hash of its state is %.40q", c.Hash)
		} else {
			told[i].hash = raftfsm.Hash(b)
		}
	}
	return told, nil
}

// take keeps what a peer tells.
func (w *stateComparison) take(peer string, told []stateAt, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heard == nil {
		w.heard = map[string][]heardClaim{}
	}
	kept := slices.DeleteFunc(w.heard[peer], func(c heardClaim) bool { return now.Sub(c.last) > claimAge })
	for _, at := range told {
		if i := slices.IndexFunc(kept, func(c heardClaim) bool { return c.stateAt == at }); i >= 0 {
			again := kept[i]
			again.last = now
			kept = append(slices.Delete(kept, i, i+1), again)
			continue
		}
		kept = append(kept, heardClaim{at, now, now})
	}
	w.heard[peer] = kept[max(0, len(kept)-keptClaims):]
}

// wrongState is a state that a majority agrees on and this node does not have.
type wrongState struct {
	index        uint64
	mine, theirs raftfsm.Hash
}

// judge compares this node's states with what the voters tell. present tells whether a voter was heard just now.
func (w *stateComparison) judge(self string, voters []string, present func(id string) bool, now time.Time) (guilty *wrongState, accusers []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.heard {
		if !slices.Contains(voters, id) {
			delete(w.heard, id)
		}
	}
	majority := len(voters)/2 + 1
	need := majority // peers that must have this node's state to prove it right
	if slices.Contains(voters, self) {
		need--
	}
	type accusation struct {
		heardClaim
		by string
	}
	var agreed []uint64
	var accusations []accusation
	for id, claims := range w.heard {
		upTo := uint64(0)
		for _, c := range claims {
			mine := w.ring[c.index%keptStates]
			switch {
			case now.Sub(c.last) > claimAge || mine.index != c.index || c.index == 0:
			case mine.hash == c.hash:
				upTo = max(upTo, c.index)
			default:
				accusations = append(accusations, accusation{c, id})
			}
		}
		agreed = append(agreed, upTo)
	}
	slices.Sort(agreed)
	if need == 0 {
		accusations = nil
	} else if len(agreed) >= need {
		w.proven = max(w.proven, agreed[len(agreed)-need])
	}

	by := map[string]bool{}
	votes := map[stateAt]int{}
	late := false
	worst := accusation{}
	for _, a := range accusations {
		if !slices.Contains(accusers, a.by) {
			accusers = append(accusers, a.by)
		}
		if a.index <= w.proven {
			continue
		}
		by[a.by] = true
		late = late || now.Sub(a.first) > undecidedAfter
		if a.index > worst.index {
			worst = a
		}
		if votes[a.stateAt]++; votes[a.stateAt] >= majority {
			w.open = ""
			return &wrongState{a.index, w.ring[a.index%keptStates].hash, a.hash}, accusers
		}
	}
	slices.Sort(accusers)
	w.open = ""
	if len(by) == 0 {
		return nil, accusers
	}
	silent := 0 // voters that may still decide it
	for _, id := range voters {
		if id != self && !by[id] && present(id) {
			silent++
		}
	}
	if late || silent < need && silent+len(by) < majority {
		w.open = fmt.Sprintf("%s has another state after entry %d, and no majority of the voters agrees on either", worst.by, worst.index)
	}
	return nil, accusers
}

// undecided tells of the disagreement that nobody can decide; empty if there is none.
func (w *stateComparison) undecided() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

// judgeState compares this node's state with that of its peers, and stops the node if it is in the wrong.
func (n *Node) judgeState() {
	if n.Err() != nil {
		return
	}
	voters := n.voters()
	ids := make([]string, len(voters))
	for i, v := range voters {
		ids[i] = string(v.ID)
	}
	now := time.Now()
	before := n.states.undecided()
	guilty, accusers := n.states.judge(n.opts.ID, ids, func(id string) bool {
		h, ok := n.peerStatus.latestFrom(id)
		return ok && now.Sub(h.at) <= staleAfter
	}, now)
	if guilty != nil {
		what := fmt.Sprintf("the state of %s after entry %d has the hash %s, a majority of the voters has %s: it would act on a wrong record",
			n.opts.ID, guilty.index, guilty.mine, guilty.theirs)
		if err := writeSynced(filepath.Join(n.stores.dir, differsMarker), what+"\n"); err != nil {
			n.opts.Logger.Error("cannot leave the mark for the next start to take the record from a peer", "module", "cluster", "error", err)
		}
		n.fail(&Damage{Dir: n.stores.dir, What: what, Kind: FaultState})
		return
	}
	after := n.states.undecided()
	switch {
	case after != "" && before == "":
		n.opts.Logger.Error("the states of the nodes differ and no majority agrees on one: no node acts until that is settled", "module", "cluster", "difference", after)
	case after == "" && before != "":
		n.opts.Logger.Info("the difference of the nodes' states is settled", "module", "cluster", "was", before)
	case after == "" && len(accusers) > 0:
		n.log.log(slog.LevelError, "state", "peers have another state than this node and a majority", "peers", accusers)
	}
}
