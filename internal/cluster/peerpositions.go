package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hm/internal/config/limits"
)

// mark says how far a log reaches: the term and the index of its last entry. It is what raft compares when it gives
// a vote: first the term, then the index.
type logPosition struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

func (m logPosition) less(o logPosition) bool {
	return m.Term < o.Term || m.Term == o.Term && m.Index < o.Index
}

func (m logPosition) String() string { return fmt.Sprintf("term %d, index %d", m.Term, m.Index) }

// memory is what this node remembers of its peers: how far each one's log reached by its own word, at the most. Raft
// takes it for granted that a node never forgets what it acknowledged. A node whose data_dir was replaced by an older
// copy breaks that, and does not know it. Its peers know: each message carries how far the sender's log reaches and
// what the sender remembers of the receiver. A node that is told of more than it has is joining from then on, as one
// that lost its disk (see joining). Before two members have spoken in the life of this process neither asks the other
// for its vote nor gives it one (see guardedTransport), so an old copy is found out before it can do harm.
//
// What is left: a node tells how far its log reaches every statusEvery. What it acknowledged after it last told a peer
// that still runs, nobody knows but the leader that counted the acknowledgement.
//
// A log that loses entries which were never committed gets others of a later term, so its mark does not fall. There is
// one exception, a node that dies between the two: it is joining until it has heard from a leader.
//
// The memory outlasts the process in a small file, which is at most saveEvery behind.
type peerPositions struct {
	path string
	log  *sampledLog

	mu       sync.Mutex
	marks    map[string]logPosition // the most that each member said to have
	spoken   map[string]bool        // members that spoke in the life of this process
	behind   map[string]bool        // members that say to have less than they once said
	owed     map[string]logPosition // what each member remembers of this node
	unsaved  bool
	saveLock sync.Mutex
}

const (
	saveEvery        = time.Second
	maxPositionsFile = 64 << 10
)

// peerPositionsFile is the form of the file. Only hm reads it.
type peerPositionsFile struct {
	Format int                    `json:"format"`
	Marks  map[string]logPosition `json:"marks"`
}

// loadPeerPositions reads what dir holds. A file that cannot be used is told of and counts as none: it is one of two nets.
func loadPeerPositions(dir string, log *sampledLog) *peerPositions {
	m := &peerPositions{
		path: filepath.Join(dir, "peers.json"), log: log,
		marks: map[string]logPosition{}, spoken: map[string]bool{}, behind: map[string]bool{}, owed: map[string]logPosition{},
	}
	marks, err := readPeerPositions(m.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		log.log(slog.LevelError, "memory", "what was remembered of the peers is lost: until they have spoken, a peer with an old copy of its data goes unnoticed",
			"file", m.path, "error", err)
	default:
		m.marks = marks
	}
	return m
}

func readPeerPositions(path string) (map[string]logPosition, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPositionsFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPositionsFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxPositionsFile)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var file peerPositionsFile
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	if file.Format != 1 || file.Marks == nil {
		return nil, fmt.Errorf("its format is %d, this hm knows 1", file.Format)
	}
	for id := range file.Marks {
		if err := limits.NodeID(id); err != nil {
			return nil, fmt.Errorf("the id of a member %w", err)
		}
	}
	return file.Marks, nil
}

// heard takes in how far a member's log reaches and what that member remembers of this node, by its word. A member of
// a version that does not tell has spoken all the same.
func (m *peerPositions) heard(from string, has, remembers logPosition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spoken[from] = true
	m.owed[from] = remembers
	if has == (logPosition{}) {
		return
	}
	known := m.marks[from]
	m.behind[from] = has.less(known)
	if known.less(has) {
		m.marks[from] = has
		m.unsaved = true
	}
}

// of gives what is remembered of a member.
func (m *peerPositions) of(id string) logPosition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks[id]
}

// owes gives the most that any member remembers of this node, as told in the life of this process.
func (m *peerPositions) owes() (most logPosition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.owed {
		if most.less(k) {
			most = k
		}
	}
	return most
}

// Why a member's vote is neither asked for nor given one.
var (
	errUnspoken = errors.New("the two nodes have not yet compared what they remember of each other")
	errBehind   = errors.New("the node has less in its log than it once said to have, and must catch up first")
)

// mayElect says whether this node and another may take part in an election together.
func (m *peerPositions) mayElect(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.spoken[id]:
		return fmt.Errorf("%s: %w", id, errUnspoken)
	case m.behind[id]:
		return fmt.Errorf("%s: %w", id, errBehind)
	}
	return nil
}

// keep forgets everybody who is no member any more.
func (m *peerPositions) keep(member func(id string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.marks {
		if !member(id) {
			delete(m.marks, id)
			m.unsaved = true
		}
	}
	gone := func(id string, _ bool) bool { return !member(id) }
	maps.DeleteFunc(m.spoken, gone)
	maps.DeleteFunc(m.behind, gone)
	maps.DeleteFunc(m.owed, func(id string, _ logPosition) bool { return !member(id) })
}

// run saves the memory until ctx ends, and then once more.
func (m *peerPositions) run(ctx context.Context) {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if err := m.save(); err != nil {
			m.log.log(slog.LevelWarn, "memory", "cannot save what is remembered of the peers", "file", m.path, "error", err)
		}
	}
}

func (m *peerPositions) save() error {
	m.saveLock.Lock()
	defer m.saveLock.Unlock()
	m.mu.Lock()
	if !m.unsaved {
		m.mu.Unlock()
		return nil
	}
	b, err := json.Marshal(peerPositionsFile{Format: 1, Marks: m.marks})
	m.unsaved = false
	m.mu.Unlock()
	if err == nil {
		err = replaceFile(m.path, b)
	}
	if err != nil {
		m.mu.Lock()
		m.unsaved = true
		m.mu.Unlock()
	}
	return err
}

// last says how far this node's log reaches.
func (n *Node) last() logPosition {
	stats := n.raft.Stats() // raft tells the term of its last entry nowhere else
	entry, snapshot := positionOf(stats, "last_log"), positionOf(stats, "last_snapshot")
	if entry.Index >= snapshot.Index {
		return entry
	}
	return snapshot
}
