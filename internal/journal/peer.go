package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.etcd.io/bbolt"
)

// Nodes ask each other for the cluster's events of a range of the log, page by page, over a connection that the cluster
// opens. A request and a page are frames: a length in four bytes, the version of the protocol, numbers as uvarints, and
// at the end of a page its events as they are stored.

const (
	peerVersion  = 1
	pageEvents   = 1_000
	pageBytes    = 512 << 10 // of events; one more event may follow
	maxPageFrame = pageBytes + maxEncoded + 64<<10
	maxAskFrame  = 64
	peerTimeout  = 10 * time.Second // for one page
	peerIdle     = time.Minute      // between two requests on one connection
)

var errPeer = errors.New("the peer's message cannot be read")

// ask is a request for the events from a position up to an index of the log.
type ask struct {
	from Position
	to   uint64
}

// page is the answer: the next events, and what the peer does not have.
type page struct {
	more   bool   // further events follow: ask from behind the last one
	stored uint64 // everything up to this index is stored on the peer, but for lacks and what was pruned
	lacks  []span // what the peer does not know of the range, as far as it is stored
	events []record
}

// ServePeer answers a peer's requests until the peer closes the connection, makes a mistake or is silent for too long, or
// ctx ends. It closes the connection.
func (j *Journal) ServePeer(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	for {
		if err := conn.SetDeadline(time.Now().Add(peerIdle)); err != nil {
			return err
		}
		b, err := readFrame(in, maxAskFrame)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a peer's request for events: %w", err)
		}
		a, err := decodeAsk(b)
		if err != nil {
			return err
		}
		p, err := j.page(a)
		if err != nil {
			return err
		}
		if err := conn.SetDeadline(time.Now().Add(peerTimeout)); err != nil {
			return err
		}
		if err := writeFrame(conn, p.encode()); err != nil {
			return fmt.Errorf("sending events to a peer: %w", err)
		}
	}
}

// page reads the answer to a request.
func (j *Journal) page(a ask) (p page, err error) {
	err = j.view(func(tx *bbolt.Tx) error { return p.read(tx, a) })
	if errors.Is(err, errDamaged) {
		j.damaged.Notify()
	}
	return p, err
}

func (p *page) read(tx *bbolt.Tx, a ask) error {
	b := tx.Bucket(metaBucket)
	if b == nil {
		return fmt.Errorf("%w: it has no bucket %s", errDamaged, metaBucket)
	}
	m, err := decodeMeta(b.Get(stateKey))
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	p.stored = m.stored
	for _, g := range m.gaps {
		if g.to >= a.from.Index && g.from <= a.to {
			p.lacks = append(p.lacks, span{max(g.from, a.from.Index), min(g.to, a.to)})
		}
	}
	var heads [classOthers]head // the class after them has a node's own events only
	from := appendKey(nil, ID{Position: a.from})
	for c := range heads {
		bucket := tx.Bucket(bucketNames[c])
		if bucket == nil {
			return fmt.Errorf("%w: it has no bucket %s", errDamaged, bucketNames[c])
		}
		heads[c] = head{cursor: bucket.Cursor()}
		heads[c].seek(from, false)
	}
	size := 0
	for {
		h := next(heads[:], false)
		if h == nil {
			return nil
		}
		id, ok := decodeKey(h.key)
		if ok && id.Index > a.to {
			return nil
		}
		if ok && id.Own == 0 {
			if p.more = len(p.events) == pageEvents || size >= pageBytes; p.more {
				return nil
			}
			r := record{value: bytes.Clone(h.value)}
			copy(r.key[:], h.key)
			p.events = append(p.events, r)
			size += len(h.value)
		}
		h.move(false)
	}
}

func (a ask) encode() []byte {
	b := []byte{peerVersion}
	for _, v := range []uint64{a.from.Index, uint64(a.from.Ordinal), a.to} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeAsk(b []byte) (a ask, err error) {
	r, err := message(b)
	if err != nil {
		return a, err
	}
	a.from.Index = r.uvarint()
	ordinal := r.uvarint()
	a.from.Ordinal, a.to = uint32(ordinal), r.uvarint()
	if r.bad || len(r.b) > 0 || ordinal>>32 != 0 {
		return a, fmt.Errorf("%w: it asks for no range of events", errPeer)
	}
	return a, nil
}

// message checks the version of a message.
func message(b []byte) (reader, error) {
	if len(b) == 0 || b[0] != peerVersion {
		return reader{}, fmt.Errorf("%w: its version is %.1x, this node knows version %d", errPeer, b, peerVersion)
	}
	return reader{b: b[1:]}, nil
}

func (p *page) encode() []byte {
	b := []byte{peerVersion, 0}
	if p.more {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, p.stored)
	b = binary.AppendUvarint(b, uint64(len(p.lacks)))
	for _, s := range p.lacks {
		b = binary.AppendUvarint(binary.AppendUvarint(b, s.from), s.to)
	}
	b = binary.AppendUvarint(b, uint64(len(p.events)))
	for i := range p.events {
		e := &p.events[i]
		b = append(b, e.key[:keyLen-8]...) // no own event is sent
		b = append(binary.AppendUvarint(b, uint64(len(e.value))), e.value...)
	}
	return b
}

// decodePage reads the answer to a request. It refuses events outside of the range, out of order, or that cannot be
// decoded.
func decodePage(b []byte, a ask) (p page, err error) {
	r, err := message(b)
	if err != nil {
		return p, err
	}
	bad := func(what string) (page, error) { return page{}, fmt.Errorf("%w: %s", errPeer, what) }
	flag := r.uvarint()
	p.more, p.stored = flag == 1, r.uvarint()
	n := r.uvarint()
	if r.bad || flag > 1 || n > maxGaps {
		return bad("its head is malformed")
	}
	for range n {
		s := span{r.uvarint(), r.uvarint()}
		if s.from > s.to {
			return bad("a range of it is empty")
		}
		p.lacks = append(p.lacks, s)
	}
	if n = r.uvarint(); r.bad || n > pageEvents {
		return bad("it has too many events")
	}
	before := a.from
	for i := range n {
		if len(r.b) < keyLen-8 {
			return bad("it ends early")
		}
		var e record
		copy(e.key[:], r.b[:keyLen-8])
		r.b = r.b[keyLen-8:]
		id, _ := decodeKey(e.key[:])
		size := r.uvarint()
		if r.bad || size > uint64(len(r.b)) || id.Index > a.to || id.Position.compare(before) < min(int(i), 1) {
			return bad("an event is outside of the range, out of order, or ends early")
		}
		before = id.Position
		e.value = r.b[:size:size]
		r.b = r.b[size:]
		decoded, err := decodeEvent(e.value)
		if err != nil || decoded.ID.Node != "" {
			return bad("an event of it cannot be read, or is one of the peer's own")
		}
		e.class = classOf(decoded.Kind)
		p.events = append(p.events, e)
	}
	if len(r.b) > 0 || p.more && n == 0 {
		return bad("bytes follow, or events are missing")
	}
	return p, nil
}

func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", errPeer, n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: it ends early: %w", errPeer, err)
	}
	return b, nil
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}
