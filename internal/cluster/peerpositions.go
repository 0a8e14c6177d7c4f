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

// logPosition says how far a log reaches: the term and the index of its last entry. Raft compares the same two numbers
// before it gives a vote: first the term, then the index.
type logPosition struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

func (m logPosition) less(o logPosition) bool {
	return m.Term < o.Term || m.Term == o.Term && m.Index < o.Index
}

func (m logPosition) String() string { return fmt.Sprintf("term %d, index %d", m.Term, m.Index) }

// peerPositions remembers how far the log of each peer reached, as the peer said itself.
//
// Raft assumes that a node never forgets what it acknowledged. A node whose data_dir was replaced by an older copy
// breaks this assumption without knowing it; but its peers know. Each message says how far the sender's log reaches,
// and how far the receiver's log reached as the sender remembers it. A node that learns that it once had more is
// joining from then on, like a node that lost its disk (see joining). Two members neither ask each other for a vote nor
// give one before they have exchanged messages in this process (see guardedTransport). So an older copy is found before
// it does harm.
//
// One gap remains: a node tells its position every statusEvery. Entries that it acknowledged after its last message to
// a peer that still runs are known only to the leader that counted them.
//
// If a node drops entries that were never committed, it gets others of a later term, so its position does not fall. One
// exception: if it stops between the two, it is joining until it has contact with a leader.
//
// The positions are saved in a small file, at most saveEvery late.
type peerPositions struct {
	path string
	log  *sampledLog

	mu       sync.Mutex             // the maps are by member id
	highest  map[string]logPosition // the highest position that the member said to have
	compared map[string]bool        // a message of the member arrived in this process
	behind   map[string]bool        // the member now says to have less than it once said
	own      map[string]logPosition // this node's position as the member remembers it
	unsaved  bool
	saveLock sync.Mutex
}

const (
	saveEvery        = time.Second
	maxPositionsFile = 64 << 10
)

// peerPositionsFile is the format of the file. Only hm reads it.
type peerPositionsFile struct {
	Format int                    `json:"format"`
	Marks  map[string]logPosition `json:"marks"`
}

// loadPeerPositions reads the file in dir. A file that cannot be used is logged and ignored: the messages of the peers
// protect as well.
func loadPeerPositions(dir string, log *sampledLog) *peerPositions {
	m := &peerPositions{
		path: filepath.Join(dir, "peers.json"), log: log,
		highest: map[string]logPosition{}, compared: map[string]bool{}, behind: map[string]bool{}, own: map[string]logPosition{},
	}
	positions, err := readPeerPositions(m.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		log.log(slog.LevelError, "positions", "cannot read how far the logs of the peers reached: a peer with an older copy of its data may go unnoticed until its first message",
			"file", m.path, "error", err)
	default:
		m.highest = positions
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
		return nil, fmt.Errorf("its format is %d, this version of hm knows only 1", file.Format)
	}
	for id := range file.Marks {
		if err := limits.NodeID(id); err != nil {
			return nil, fmt.Errorf("the id of a member %w", err)
		}
	}
	return file.Marks, nil
}

// update takes how far a member's log reaches, and how far this node's log reached as the member remembers it. An older
// version of hm sends neither; its message counts all the same.
func (m *peerPositions) update(from string, has, remembers logPosition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compared[from] = true
	m.own[from] = remembers
	if has == (logPosition{}) {
		return
	}
	known := m.highest[from]
	m.behind[from] = has.less(known)
	if known.less(has) {
		m.highest[from] = has
		m.unsaved = true
	}
}

// of gives the highest position that a member said to have.
func (m *peerPositions) of(id string) logPosition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highest[id]
}

// ownHighest gives the highest position of this node that any member remembers and sent to this process.
func (m *peerPositions) ownHighest() (highest logPosition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.own {
		if highest.less(p) {
			highest = p
		}
	}
	return highest
}

// Why this node and another take part in no election together.
var (
	errNotCompared = errors.New("the two nodes have not yet told each other how far their logs reach")
	errBehind      = errors.New("the log of the node has less than the node once said to have: the node must catch up first")
)

// mayElect gives the reason why this node and another may not take part in an election together; nil if they may.
func (m *peerPositions) mayElect(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.compared[id]:
		return fmt.Errorf("%s: %w", id, errNotCompared)
	case m.behind[id]:
		return fmt.Errorf("%s: %w", id, errBehind)
	}
	return nil
}

// keep forgets the nodes that are no longer members.
func (m *peerPositions) keep(member func(id string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.highest {
		if !member(id) {
			delete(m.highest, id)
			m.unsaved = true
		}
	}
	gone := func(id string, _ bool) bool { return !member(id) }
	maps.DeleteFunc(m.compared, gone)
	maps.DeleteFunc(m.behind, gone)
	maps.DeleteFunc(m.own, func(id string, _ logPosition) bool { return !member(id) })
}

// run saves the positions again and again until ctx ends, and then once more.
func (m *peerPositions) run(ctx context.Context) {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if err := m.save(); err != nil {
			m.log.log(slog.LevelWarn, "positions", "cannot save how far the logs of the peers reach",
				"file", m.path, "error", err)
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
	b, err := json.Marshal(peerPositionsFile{Format: 1, Marks: m.highest})
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

// logEnd says how far this node's log reaches.
func (n *Node) logEnd() logPosition {
	stats := n.raft.Stats() // raft tells the term of its last entry nowhere else
	entry, snapshot := positionOf(stats, "last_log"), positionOf(stats, "last_snapshot")
	if entry.Index >= snapshot.Index {
		return entry
	}
	return snapshot
}
