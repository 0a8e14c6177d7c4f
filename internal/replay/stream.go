package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands/natspub"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// said is what one DEA said last. It never changes.
type said struct {
	digest actual.Digest
	hb     actual.Heartbeat
}

// item is one event, decoded as the daemon's feed decodes it.
type item struct {
	at   app.Time
	kind itemKind
	said *said  // of a heartbeat
	rest *extra // of the others
}

type itemKind uint8

const (
	itemHeartbeat itemKind = iota
	itemExit
	itemUpdated
	itemStart    // a start that the recorded hm sent
	itemStop     // a stop likewise
	itemRejected // a message that the daemon drops
	itemGarbled  // a heartbeat that the daemon cannot decode
	itemIgnored  // a subject that the daemon does not listen to
	itemDesired
	itemLink
	itemLeader
	itemLeaderless
	itemState
	itemHold
)

type extra struct {
	exit    actual.Exit
	updated app.GUID
	start   natspub.Start
	stop    natspub.Stop
	garbled garbled
	event   Event          // of itemDesired, itemLink and itemHold
	state   *raftfsm.State // of itemState; nil in a later part, which goes on with what there is
}

// garbled is a heartbeat that cannot be decoded.
type garbled struct {
	dea string // who probably sent it; empty if that cannot be told
	why string
}

// batch is what a stream hands over at once, with how far the files have been read then.
type batch struct {
	items []item
	done  int64
	err   error // why it is the last one; io.EOF at the end
}

const (
	batchItems   = 256
	batchDecoded = 4096 // instances, so that a batch of large heartbeats is handed over soon
	batchAhead   = 8
)

// stream reads and decodes ahead of the player. The goroutine ends when ctx does, or after the last batch.
type stream struct {
	batches chan batch
	ended   chan struct{}
}

func newStream(ctx context.Context, r *Reader) *stream {
	s := &stream{batches: make(chan batch, batchAhead), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		d := decoder{reader: r, digest: feed.NewFastDigester(), byDigest: map[actual.Digest]*said{}, byDEA: map[string]*said{}}
		for {
			b := d.batch()
			select {
			case s.batches <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	return s
}

// decoder turns events into items.
type decoder struct {
	reader     *Reader
	digest     feed.Digester
	heartbeats feed.Redecoder
	byDigest   map[actual.Digest]*said
	byDEA      map[string]*said
	event      Event
	last       desired.Read // the newest complete read
	decoded    int
}

func (d *decoder) batch() batch {
	b := batch{items: make([]item, 0, batchItems)}
	d.decoded = 0
	for len(b.items) < batchItems && d.decoded < batchDecoded {
		i, err := d.next()
		if err != nil {
			b.err = err
			break
		}
		b.items = append(b.items, i)
	}
	b.done = d.reader.Done()
	return b
}

func (d *decoder) next() (item, error) {
	e := &d.event
	if err := d.reader.Next(e); err != nil {
		return item{}, err
	}
	i := item{at: app.TimeOf(e.At)}
	switch e.Type {
	case TypeNATS:
		return i, d.message(e, &i)
	case TypeDesired:
		i.kind = itemDesired
		switch {
		case e.Unchanged:
			e.Read = d.last
		case e.Failed == "" && e.Only.IsZero():
			d.last = e.Read
		}
		i.rest = &extra{event: *e}
	case TypeLink:
		i.kind, i.rest = itemLink, &extra{event: *e}
	case TypeLeader:
		switch {
		case e.Again:
			i.kind = itemIgnored
		case e.Lost:
			i.kind = itemLeaderless
		default:
			i.kind = itemLeader
		}
	case TypeState:
		return i, d.state(e, &i)
	case TypeHold:
		i.kind, i.rest = itemHold, &extra{event: *e}
	}
	return i, nil
}

// state decodes what was recorded when the recording began.
func (d *decoder) state(e *Event, i *item) error {
	i.kind, i.rest = itemState, &extra{}
	if e.Again {
		return nil
	}
	state, err := raftfsm.RestoreState(bytes.NewReader(e.State))
	switch {
	case err != nil:
		return d.reader.wrong(fmt.Errorf("the state cannot be restored: %w", err))
	case state.Time() > i.at:
		return d.reader.wrong(fmt.Errorf("the state is of %v, which is later than the line", state.Time()))
	}
	i.rest.state = state
	return nil
}

// message decodes a message as feed does.
func (d *decoder) message(e *Event, i *item) error {
	var err error
	x := extra{}
	switch e.Subject {
	case feed.SubjectHeartbeat:
		return d.heartbeat(e, i)
	case feed.SubjectExited:
		i.kind = itemExit
		x.exit, err = feed.DecodeExit(e.Data)
	case feed.SubjectUpdated:
		i.kind = itemUpdated
		x.updated, err = feed.DecodeUpdated(e.Data)
	case natspub.SubjectStart, "health.start":
		i.kind = itemStart
		x.start, err = natspub.DecodeStart(e.Data)
	case natspub.SubjectStop, "health.stop":
		i.kind = itemStop
		x.stop, err = natspub.DecodeStop(e.Data)
	default:
		i.kind = itemIgnored
		return nil
	}
	switch {
	case err == nil:
		i.rest = &x
	case i.kind == itemStart || i.kind == itemStop:
		i.kind = itemIgnored // the daemon does not listen to them either
	default:
		i.kind = itemRejected
	}
	return nil
}

func (d *decoder) heartbeat(e *Event, i *item) error {
	i.kind = itemHeartbeat
	if e.Repeat != "" {
		if i.said = d.byDEA[e.Repeat]; i.said == nil {
			return d.reader.wrong(fmt.Errorf("DEA %.80s cannot repeat itself: the recording has no heartbeat of it before this line", e.Repeat))
		}
		return nil
	}
	sum := d.digest.Sum(e.Data)
	if i.said = d.byDigest[sum]; i.said != nil {
		return nil
	}
	hb, err := d.heartbeats.Decode(e.Data)
	if err != nil && e.line != nil {
		if err := e.strict(); err != nil {
			return d.reader.wrong(err)
		}
		return d.heartbeat(e, i)
	}
	if err != nil {
		i.kind, i.rest = itemGarbled, &extra{garbled: garbled{feed.Sender(e.Data), err.Error()}}
		return nil
	}
	d.decoded += len(hb.Instances)
	i.said = &said{sum, hb}
	if old := d.byDEA[hb.DEA]; old != nil {
		delete(d.byDigest, old.digest)
	}
	d.byDEA[hb.DEA], d.byDigest[sum] = i.said, i.said
	return nil
}

// next gives the next batch.
func (s *stream) next(ctx context.Context) (batch, error) {
	select {
	case b := <-s.batches:
		if b.err != nil && !errors.Is(b.err, io.EOF) && len(b.items) == 0 {
			return b, b.err
		}
		return b, nil
	case <-ctx.Done():
		return batch{}, context.Cause(ctx)
	}
}
