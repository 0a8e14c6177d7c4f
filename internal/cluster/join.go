package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// joining keeps a node whose stores were blank out of elections until it may take part. Raft takes it for granted
// that a node remembers what it acknowledged. One that lost its disk does not: its vote, or its own candidacy, could
// make a leader of a node that lacks entries which this node once helped to commit (I8).
//
// The node may take part again once it holds an entry of the present term that is known to be committed, for then it
// holds everything committed before. In a new cluster there is no such entry and nobody to lose one: there it is
// enough that a majority of the members say that their logs are blank, and none says otherwise, or that it belongs to
// another cluster. As long as at most a minority lose their disks, a majority of blank logs means that nothing was
// ever recorded. Unless all have spoken, those who have not get hearingTime to do so.
type joining struct {
	active atomic.Bool
	marker string // file that outlasts a crash in the middle
	since  time.Time
}

const hearingTime = time.Second

var errJoining = errors.New("this node is joining with an empty store and takes no part in elections yet")

// joining finds out whether the node is joining, and leaves a mark in the directory if so.
func (s *stores) joining(o Options) (*joining, error) {
	j := &joining{marker: filepath.Join(s.dir, joiningMarker), since: time.Now()}
	if len(o.Peers) == 1 {
		return j, nil
	}
	if s.blank && healing(j.marker) == "" {
		if err := writeSynced(j.marker, "this node has not yet caught up with its cluster; hm removes this file when it has\n"); err != nil {
			return nil, fmt.Errorf("node.data_dir: %w", err)
		}
	}
	_, err := os.Stat(j.marker)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("node.data_dir: %w", err)
	}
	j.active.Store(err == nil)
	return j, nil
}

// end lets the node take part from now on.
func (j *joining) end() error {
	if err := os.Remove(j.marker); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	j.active.Store(false)
	return nil
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// judgeJoining ends the joining if what is known of the cluster allows it.
func (n *Node) judgeJoining() {
	if !n.join.active.Load() {
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
	if !n.logIsBlank() || n.gossip.isShunned() {
		return false
	}
	voters := n.voters()
	blank := 0
	for _, v := range voters {
		if string(v.ID) == n.opts.ID {
			blank++
			continue
		}
		heard, ok := n.gossip.heardFrom(string(v.ID))
		switch {
		case !ok:
		case !heard.message.Blank:
			return false
		default:
			blank++
		}
	}
	return blank == len(voters) || blank > len(voters)/2 && time.Since(n.join.since) > hearingTime
}

// caughtUp reports whether the newest entry known to be committed is of the present term and is here.
func (n *Node) caughtUp() bool {
	if _, leader := n.raft.LeaderWithID(); leader == "" {
		return false
	}
	term, commit := n.raft.CurrentTerm(), n.raft.CommitIndex()
	if commit <= 1 {
		return false
	}
	var entry raft.Log
	switch err := n.stores.log.GetLog(commit, &entry); {
	case err == nil:
	case errors.Is(err, raft.ErrLogNotFound): // it may be the one that a snapshot ended with
		stats := n.raft.Stats()
		if stats["last_snapshot_index"] != strconv.FormatUint(commit, 10) {
			return false
		}
		entry.Term, _ = strconv.ParseUint(stats["last_snapshot_term"], 10, 64)
	default:
		return false
	}
	return entry.Term == term && n.raft.CurrentTerm() == term
}

// guardedTransport is raft's transport, through which a joining node neither asks for votes nor gives any.
type guardedTransport struct {
	*freshTransport
	join     *joining
	consumer <-chan raft.RPC
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

func newGuardedTransport(inner *freshTransport, join *joining) *guardedTransport {
	t := &guardedTransport{freshTransport: inner, join: join, consumer: inner.Consumer(), done: make(chan struct{})}
	if join.active.Load() { // else there is nothing to guard, and no need for a goroutine in the way
		guarded := make(chan raft.RPC)
		t.consumer = guarded
		t.wg.Go(func() { t.forward(inner.Consumer(), guarded) })
	}
	return t
}

func (t *guardedTransport) forward(from <-chan raft.RPC, to chan<- raft.RPC) {
	for {
		select {
		case rpc := <-from:
			switch rpc.Command.(type) {
			case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest, *raft.TimeoutNowRequest:
				if t.join.active.Load() {
					rpc.Respond(nil, errJoining)
					continue
				}
			}
			select {
			case to <- rpc:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// Consumer gives raft the requests of its peers.
func (t *guardedTransport) Consumer() <-chan raft.RPC { return t.consumer }

// RequestVote asks a peer for its vote.
func (t *guardedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if t.join.active.Load() {
		return errJoining
	}
	return t.freshTransport.RequestVote(id, target, args, resp)
}

// RequestPreVote asks a peer whether it would vote for this node.
func (t *guardedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if t.join.active.Load() {
		return errJoining
	}
	return t.freshTransport.RequestPreVote(id, target, args, resp)
}

// Close ends the transport. It does not wait; wait does.
func (t *guardedTransport) Close() error {
	t.once.Do(func() { close(t.done) })
	return t.NetworkTransport.Close()
}

func (t *guardedTransport) wait() { t.wg.Wait() }
