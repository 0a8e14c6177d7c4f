package heartbeats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"hm/actual/feed"
)

// Taker takes the heartbeats that peers pass on.
type Taker struct {
	Posts *feed.Posts
	// Bodies reports whether the body of every heartbeat is needed, even if its digest is known: somebody records them.
	// nil: never.
	Bodies func() bool
	Wait   time.Duration // how long a heartbeat may take from one node to the other: see Wait
}

// ServePeer takes the heartbeats of one peer until the peer closes the connection, sends something else, or reads no
// reply for too long, or ctx ends. It closes the connection.
func (t Taker) ServePeer(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	out := &replies{conn: conn, w: bufio.NewWriter(conn), began: time.Now(), patience: max(waitsToDeath*t.Wait, time.Second)}
	if err := out.greet(t.Posts.Key()); err != nil {
		cancel()
		return err
	}
	var ticking sync.WaitGroup
	ticking.Go(func() { out.tick(ctx, t.Wait/clocksPerWait) })
	err := t.serve(conn, out)
	cancel()
	ticking.Wait()
	return err
}

func (t Taker) serve(conn net.Conn, out *replies) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		q, err := readRequest(in)
		if errors.Is(err, io.EOF) && !errors.Is(err, errRelay) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a heartbeat from a peer: %w", err)
		}
		kind := t.answer(q, out.clock())
		if err := out.send(reply{kind: kind, number: q.number}, in.Buffered() == 0); err != nil {
			return fmt.Errorf("answering a peer: %w", err)
		}
	}
}

// answer takes a heartbeat that arrived at now, on this node's clock, and gives the kind of reply.
func (t Taker) answer(q request, now int64) byte {
	switch {
	case now > q.deadline:
		return saysLate
	case q.kind == asksBody:
		if err := t.Posts.Take(q.payload); err != nil {
			return saysRefused
		}
		return saysTaken
	case t.Bodies != nil && t.Bodies() || !t.Posts.Repeats(feed.Digest(q.payload)):
		return saysWanted
	}
	return saysTaken
}

// replies writes to a peer. It is safe for concurrent use.
type replies struct {
	conn     net.Conn
	began    time.Time // when the clock was 0
	patience time.Duration

	mu sync.Mutex
	w  *bufio.Writer
}

// clock gives the time since the greeting. It does not go back.
func (o *replies) clock() int64 { return int64(time.Since(o.began)) }

func (o *replies) greet(key feed.DigesterKey) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	if err := writeGreeting(o.w, key); err != nil {
		return err
	}
	return o.send(reply{kind: saysClock}, true)
}

// send writes a reply with the present clock, and all replies before it if it is the last for now.
func (o *replies) send(p reply, last bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.clock = o.clock()
	if err := o.conn.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	if err := writeReply(o.w, p); err != nil || !last {
		return err
	}
	return o.w.Flush()
}

// tick gives the peer this node's clock, again and again.
func (o *replies) tick(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if o.send(reply{kind: saysClock}, true) != nil {
				_ = o.conn.Close() // serve ends
				return
			}
		}
	}
}
