package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// ErrRestoring says that another snapshot is being restored.
var ErrRestoring = errors.New("another snapshot is being restored")

const (
	// restoreGap is how many entries raft itself may write while the restore is prepared, such as those of a change of the
	// members. The index of the restored state lies beyond them.
	restoreGap     = 16
	restoreEnqueue = 10 * time.Second // within which raft must begin
	restoreFile    = "restore.tmp"
)

// Restore replaces the record of the whole cluster by the state of a snapshot, which it changes and keeps. This node
// must lead. hold keeps the gate shut until the nodes have a fresh picture. Restore returns the index of the restored
// state once a majority of the nodes has it.
//
// Until then only this node has it. If it crashes meanwhile, or loses its leadership, nobody knows which of the two
// records the others go on with. So a node with peers then sets its stores aside and copies the record from them.
//
// No proposal is accepted meanwhile. If ctx ends, the restore goes on, and the error is ErrTimeout.
func (n *Node) Restore(ctx context.Context, state *raftfsm.State, hold raftfsm.Hold) (index uint64, err error) {
	lead := n.Leadership()
	if !lead.Leader {
		return 0, n.notLeader()
	}
	select {
	case n.restoring <- struct{}{}:
	default:
		return 0, ErrRestoring
	}
	if got := fill(ctx, n.slots); got < cap(n.slots) { // the entries under way end first
		release(n.slots, got)
		<-n.restoring
		return 0, ctx.Err()
	}
	end := func() { release(n.slots, cap(n.slots)); <-n.restoring }
	r, err := n.prepareRestore(lead.Term, state, hold)
	if err != nil {
		end()
		return 0, err
	}
	answer := make(chan error, 1)
	select {
	case n.raftCalls <- struct{}{}: // so that Close waits for the goroutine
	case <-n.halted:
		r.remove()
		end()
		return 0, ErrClosed
	}
	go func() {
		answer <- n.restore(r)
		end()
		<-n.raftCalls
	}()
	select {
	case err := <-answer:
		return r.index, err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	case <-n.halted:
		return 0, fmt.Errorf("%w: %w", ErrLeadershipLost, ErrClosed)
	}
}

// preparedRestore is a snapshot in a file, ready for raft.
type preparedRestore struct {
	file  *os.File
	size  int64
	index uint64
	term  uint64
}

func (r *preparedRestore) remove() {
	_ = r.file.Close()
	_ = os.Remove(r.file.Name()) // the next restore writes over it
}

// prepareRestore writes the state that is to be restored into a file. No entry is under way.
func (n *Node) prepareRestore(term uint64, state *raftfsm.State, hold raftfsm.Hold) (r *preparedRestore, err error) {
	if err := n.stores.disk.trouble(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	r = &preparedRestore{index: max(n.raft.LastIndex(), state.Index()) + restoreGap, term: term}
	err = state.TakeOver(raftfsm.Restoration{Index: r.index, Term: term, Present: n.View(), At: n.Now(), Hold: hold})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(n.stores.dir, restoreFile)
	if r.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o640); err != nil {
		return nil, err
	}
	if err = state.WriteSnapshot(r.file); err == nil {
		if r.size, err = r.file.Seek(0, io.SeekCurrent); err == nil {
			_, err = r.file.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		r.remove()
		return nil, explainFull(err)
	}
	return r, nil
}

// restore makes raft take the snapshot over.
func (n *Node) restore(r *preparedRestore) error {
	defer r.remove()
	voters := n.voters()
	doubtful := len(voters) > 2 // the others can go on without this node
	what := fmt.Sprintf("the snapshot that was restored on %s as entry %d may not have reached a majority of the voters", n.opts.ID, r.index)
	marker := filepath.Join(n.stores.dir, differsMarker)
	if doubtful {
		if err := writeSynced(marker, what+"\n"); err != nil {
			return explainFull(err)
		}
	}
	if n.raft.CurrentTerm() != r.term || n.raft.State() != raft.Leader {
		return errors.Join(ErrNotLeader, dropMarker(marker, doubtful))
	}
	n.restores.Add(1) // proposals that were made from the record of before are refused
	err := n.raft.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: r.index - 1, Term: r.term, Size: r.size}, r.file, restoreEnqueue)
	switch taken := n.View().Index() >= r.index; {
	case err == nil:
		return dropMarker(marker, doubtful)
	case !taken:
		return errors.Join(outcomeOfRestore(err), dropMarker(marker, doubtful))
	case doubtful:
		n.fail(&Damage{Dir: n.stores.dir, What: what, Kind: FaultState})
		fallthrough
	default:
		return fmt.Errorf("%w: %w", ErrLeadershipLost, err)
	}
}

// outcomeOfRestore translates raft's errors about a restore that did not begin.
func outcomeOfRestore(err error) error {
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrEnqueueTimeout) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return fmt.Errorf("restoring a snapshot: %w", explainFull(err))
}

func dropMarker(path string, there bool) error {
	if !there {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the snapshot is restored, and the file that doubts it cannot be removed: %w: remove it, or this node copies the record from its peers at its next start", err)
	}
	return syncDir(filepath.Dir(path))
}
