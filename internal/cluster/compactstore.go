package cluster

import (
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/boltfile"
)

// compactStore compacts raft.db when most of it has been free for a while, until the node closes.
func (n *Node) compactStore() {
	calm := n.opts.compactAfter
	ticker := time.NewTicker(calm / 20)
	defer ticker.Stop()
	slack := boltfile.Slack{AtLeast: n.opts.compactFree}
	for {
		var now time.Time
		select {
		case <-n.closing:
			return
		case <-n.halted:
			return
		case now = <-ticker.C:
		}
		use, err := n.stores.file.use()
		if err != nil {
			n.log.log(slog.LevelWarn, "compact", "the size of raft.db is not known", "error", err)
			continue
		}
		wait := calm
		if n.raft.State() == raft.Leader {
			wait *= 2 // the followers first, so that not all nodes stop writing at the same moment
		}
		if !slack.Pays(now, use, wait) || n.stores.disk.problem() != nil {
			continue
		}
		slack = boltfile.Slack{AtLeast: n.opts.compactFree}
		n.compactOnce(use)
	}
}

// compactOnce compacts raft.db now.
func (n *Node) compactOnce(before boltfile.Use) {
	first, _ := n.stores.log.span()
	if first == 0 {
		return // the log is empty, and the next entry may have any number
	}
	began := time.Now()
	stop := func() error {
		select {
		case <-n.closing:
			return errClosing
		default:
			return n.stores.disk.problem() // a stalled or full disk is not to get more to do
		}
	}
	err := guarded(func() error { return n.stores.file.compact(first, stop) })
	var unsure replacedUnsure
	switch {
	case errors.As(err, &unsure):
		n.stores.disk.fail(err)
	case errors.Is(err, errClosing):
	case err != nil:
		n.log.log(slog.LevelWarn, "compact", "raft.db was not made smaller: it stays as it is, and hm tries again later",
			"file", n.stores.file.path, "bytes", before.Size, "free", before.Free, "error", err)
	default:
		after, _ := n.stores.file.use()
		n.stats.compactions.Add(1)
		n.log.log(slog.LevelInfo, "compact", "raft.db was made smaller: most of it was free",
			"file", n.stores.file.path, "bytes_before", before.Size, "bytes_after", after.Size, "took", time.Since(began))
	}
}

var errClosing = errors.New("the node closes")
