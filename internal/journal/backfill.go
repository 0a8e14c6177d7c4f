package journal

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"time"
)

// A node does not see the entries that it gets as a part of a snapshot, and those whose events it lost. It asks its
// peers for the events of these gaps in the background.

// Peers reaches the journals of the other nodes.
type Peers interface {
	// IDs gives the other members.
	IDs() []string
	// Dial opens a connection that the peer serves with ServePeer.
	Dial(ctx context.Context, id string) (net.Conn, error)
}

const (
	firstAsk   = 2 * time.Second // after a gap was found, and between the first attempts
	longestAsk = time.Minute
)

// fill is what a peer gave.
type fill struct {
	events  []record
	known   []span // ranges that are complete now
	unknown []span // ranges that no node knows
	done    chan error
}

// backfill asks the peers for what is missing until ctx ends.
func (j *Journal) backfill(ctx context.Context) {
	wait := j.opts.askEvery
	for {
		changed := j.Changed()
		gaps := j.stats.gaps()
		if len(gaps) == 0 {
			wait = j.opts.askEvery
			select {
			case <-ctx.Done():
				return
			case <-changed:
				continue
			}
		}
		sleep(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		if j.askAll(ctx, j.stats.gaps()) {
			wait = j.opts.askEvery
		} else {
			wait = min(2*wait, longestAsk)
		}
	}
}

// askAll asks each peer for what is missing. What no peer knows becomes a history.gap. It reports whether a gap became
// smaller.
func (j *Journal) askAll(ctx context.Context, gaps []span) (progress bool) {
	missing := slices.Clone(gaps)
	unknown := missing // on all nodes
	for _, id := range j.opts.Peers.IDs() {
		known, lacks, err := j.askPeer(ctx, id, missing)
		if err != nil {
			if ctx.Err() != nil {
				return progress
			}
			j.log.Warn("ask "+id, "asking a peer for events failed; it will be asked again", func() []any {
				return []any{"peer", id, "error", err}
			})
		}
		progress = progress || len(known) > 0
		missing = minus(missing, known)
		unknown = both(unknown, lacks)
	}
	if unknown = both(unknown, missing); len(unknown) == 0 {
		return progress
	}
	if err := j.storeFill(ctx, fill{unknown: unknown}); err != nil {
		return progress
	}
	j.opts.Logger.Warn("no node knows the events of some entries: the history has gaps", "gaps", len(unknown),
		"from", unknown[0].from, "to", unknown[len(unknown)-1].to)
	return true
}

// askPeer gets the events of ranges from a peer and stores them. known are the ranges that are complete now, lacks those
// that the peer does not know and never will. An error leaves the ranges that are in neither.
func (j *Journal) askPeer(ctx context.Context, id string, ranges []span) (known, lacks []span, err error) {
	if len(ranges) == 0 {
		return nil, nil, nil
	}
	dial, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	conn, err := j.opts.Peers.Dial(dial, id)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	for _, r := range ranges {
		from := Position{Index: r.from}
		for more := true; more; {
			a := ask{from, r.to}
			if err := conn.SetDeadline(time.Now().Add(peerTimeout)); err != nil {
				return known, lacks, err
			}
			if err := writeFrame(conn, a.encode()); err != nil {
				return known, lacks, err
			}
			b, err := readFrame(in, maxPageFrame)
			if err != nil {
				return known, lacks, err
			}
			p, err := decodePage(b, a)
			if err != nil {
				return known, lacks, err
			}
			f := fill{events: p.events}
			if more = p.more; more {
				last, _ := decodeKey(p.events[len(p.events)-1].key[:])
				from = Position{last.Index, last.Ordinal + 1}
			}
			complete := both([]span{{r.from, r.to}}, []span{{1, p.stored}})
			lack := both(complete, p.lacks)
			complete = minus(complete, lack)
			if !more {
				f.known = complete
			}
			if err := j.storeFill(ctx, f); err != nil {
				return known, lacks, err
			}
			if !more {
				known, lacks = append(known, complete...), append(lacks, lack...)
			}
			j.stats.fetched.Add(uint64(len(p.events)))
		}
	}
	return known, lacks, nil
}

// storeFill has the journal's goroutine store what a peer gave, and waits for it.
func (j *Journal) storeFill(ctx context.Context, f fill) error {
	f.done = make(chan error, 1)
	select {
	case j.fills <- f:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeFill stores what a peer gave.
func (j *Journal) takeFill(f fill) error {
	if j.db.Load() == nil || len(j.batch) > 0 {
		return fmt.Errorf("%w: events of a peer cannot be stored now", ErrUnavailable)
	}
	before := j.meta
	j.batch = f.events
	for _, s := range f.known {
		j.meta.fill(s)
	}
	for _, s := range f.unknown {
		j.meta.fill(s)
		j.meta.own++
		j.add(&Event{
			ID: ID{Position: Position{Index: s.to}, Node: j.opts.Node, Own: j.meta.own}, At: j.opts.Now(), Kind: HistoryGap, Index: -1,
			Detail: fmt.Sprintf("the events of entries %d to %d of the log are not known: no node has them", s.from, s.to),
			Counts: []Count{{"from", int64(s.from)}, {"to", int64(s.to)}},
		})
	}
	err := j.store()
	if err != nil {
		j.batch, j.meta = nil, before // it is asked for again
	}
	return err
}

// minus gives the parts of ranges that are not in others. Ranges are sorted and do not overlap.
func minus(ranges, others []span) (left []span) {
	for _, r := range ranges {
		m := meta{gaps: []span{r}}
		for _, o := range others {
			m.fill(o)
		}
		left = append(left, m.gaps...)
	}
	return left
}

// both gives the parts of ranges that are in others, too.
func both(ranges, others []span) (out []span) {
	for _, r := range ranges {
		for _, o := range others {
			if s := (span{max(r.from, o.from), min(r.to, o.to)}); s.from <= s.to {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return out
}
