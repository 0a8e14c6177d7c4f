package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands/natspub"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/raftfsm"
)

// heartbeat is a decoded heartbeat of a DEA. It never changes.
type heartbeat struct {
	digest actual.Digest
	actual.Heartbeat
}

// item is one event, decoded as the daemon's feed decodes it.
type item struct {
	at        app.Time
	kind      itemKind
	heartbeat *heartbeat // of itemHeartbeat
	rest      *extra     // of the other kinds
}

type itemKind uint8

const (
	itemHeartbeat   itemKind = iota
	itemExit                 // droplet.exited
	itemUpdated              // droplet.updated
	itemStart                // a start that the recorded hm sent
	itemStop                 // a stop that the recorded hm sent
	itemRejected             // a message that the daemon drops
	itemUndecodable          // a heartbeat that the daemon cannot decode
	itemIgnored              // a subject that the daemon does not subscribe to
	itemDesired
	itemLink
	itemLeader
	itemLeaderless
	itemState
	itemHold
)

// extra has what the kinds other than itemHeartbeat carry.
type extra struct {
	exit        actual.Exit
	updated     app.GUID
	start       natspub.Start
	stop        natspub.Stop
	undecodable undecodable
	event       recording.Event // of itemDesired, itemLink and itemHold
	state       *raftfsm.State  // of itemState; nil in a later file, which continues with the present state
}

// undecodable is a heartbeat that cannot be decoded.
type undecodable struct {
	dea    string // the probable sender; empty if unknown
	reason string
}

// batch is what a stream hands over at once.
type batch struct {
	items []item
	bytes int64 // stored bytes that have been read so far
	err   error // why it is the last batch; io.EOF at the end
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

func newStream(ctx context.Context, r *recording.Reader) *stream {
	s := &stream{batches: make(chan batch, batchAhead), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		d := newDecoder(r)
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

// next returns the next batch.
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

// decoder turns events into items. It keeps the newest heartbeat of each DEA.
type decoder struct {
	reader     *recording.Reader
	digester   feed.Digester
	heartbeats feed.Redecoder
	byDigest   map[actual.Digest]*heartbeat
	byDEA      map[string]*heartbeat
	event      recording.Event
	last       desired.Read // the newest complete read
	reads      uint64       // complete reads so far that are not unchanged
	decoded    int          // instances in the present batch
}

func newDecoder(r *recording.Reader) *decoder {
	return &decoder{
		reader: r, digester: feed.NewFastDigester(),
		byDigest: map[actual.Digest]*heartbeat{}, byDEA: map[string]*heartbeat{},
	}
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
	b.bytes = d.reader.BytesRead()
	return b
}

func (d *decoder) next() (item, error) {
	e := &d.event
	if err := d.reader.Next(e); err != nil {
		return item{}, err
	}
	i := item{at: app.TimeOf(e.At)}
	switch e.Type {
	case recording.TypeNATS:
		return i, d.message(e, &i)
	case recording.TypeDesired:
		i.kind = itemDesired
		switch {
		case e.Unchanged:
			e.Read = d.last
		case e.Failed == "" && e.OnlyApp.IsZero():
			d.reads++
			binary.BigEndian.PutUint64(e.Read.Digest[:], d.reads)
			d.last = e.Read
		}
		i.rest = &extra{event: *e}
	case recording.TypeLink:
		i.kind, i.rest = itemLink, &extra{event: *e}
	case recording.TypeLeader:
		switch {
		case e.CarriedOver:
			i.kind = itemIgnored
		case e.Leaderless:
			i.kind = itemLeaderless
		default:
			i.kind = itemLeader
		}
	case recording.TypeState:
		return i, d.state(e, &i)
	case recording.TypeHold:
		i.kind, i.rest = itemHold, &extra{event: *e}
	}
	return i, nil
}

// state decodes what was recorded when the recording began.
func (d *decoder) state(e *recording.Event, i *item) error {
	i.kind, i.rest = itemState, &extra{}
	if e.CarriedOver {
		return nil
	}
	state, err := raftfsm.RestoreState(bytes.NewReader(e.State))
	switch {
	case err != nil:
		return d.reader.WithPosition(fmt.Errorf("the state cannot be restored: %w", err))
	case state.Time() > i.at:
		return d.reader.WithPosition(fmt.Errorf("the state is of %v, which is later than the line", state.Time()))
	}
	i.rest.state = state
	return nil
}

// message decodes a message as feed does.
func (d *decoder) message(e *recording.Event, i *item) error {
	if e.Subject == feed.SubjectHeartbeat {
		return d.heartbeat(e, i) // before x is allocated: nearly all messages are heartbeats
	}
	var err error
	x := &extra{}
	switch e.Subject {
	case feed.SubjectExited:
		i.kind = itemExit
		x.exit, err = feed.DecodeExit(e.Data)
	case feed.SubjectUpdated:
		i.kind = itemUpdated
		x.updated, err = feed.DecodeUpdated(e.Data)
	case natspub.SubjectStart, natspub.SubjectHealthStart:
		i.kind = itemStart
		x.start, err = natspub.DecodeStart(e.Data)
	case natspub.SubjectStop, natspub.SubjectHealthStop:
		i.kind = itemStop
		x.stop, err = natspub.DecodeStop(e.Data)
	default:
		i.kind = itemIgnored
		return nil
	}
	switch {
	case err == nil:
		i.rest = x
	case i.kind == itemStart || i.kind == itemStop:
		i.kind = itemIgnored // the daemon does not subscribe to them
	default:
		i.kind = itemRejected
	}
	return nil
}

func (d *decoder) heartbeat(e *recording.Event, i *item) error {
	i.kind = itemHeartbeat
	if e.Repeat != "" {
		if i.heartbeat = d.byDEA[e.Repeat]; i.heartbeat == nil {
			return d.reader.WithPosition(fmt.Errorf(
				"DEA %.80s cannot repeat its heartbeat: the recording has none of it before this line", e.Repeat))
		}
		return nil
	}
	digest := d.digester.Sum(e.Data)
	if i.heartbeat = d.byDigest[digest]; i.heartbeat != nil {
		return nil
	}
	hb, err := d.heartbeats.Decode(e.Data)
	if err != nil {
		reparsed, lineErr := d.reader.Reparse(e)
		switch {
		case lineErr != nil:
			return lineErr
		case reparsed:
			return d.heartbeat(e, i)
		}
		i.kind, i.rest = itemUndecodable, &extra{undecodable: undecodable{feed.Sender(e.Data), err.Error()}}
		return nil
	}
	d.decoded += len(hb.Instances)
	i.heartbeat = &heartbeat{digest, hb}
	if old := d.byDEA[hb.DEA]; old != nil {
		delete(d.byDigest, old.digest)
	}
	d.byDEA[hb.DEA], d.byDigest[digest] = i.heartbeat, i.heartbeat
	return nil
}
