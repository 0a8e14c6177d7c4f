package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hm/actual/feed"
	"hm/desired"
	"hm/internal/recording"
)

// CopyOptions say which node to record.
type CopyOptions struct {
	Name string // the node's address, for errors and the log
	// Open begins a recording of the node (see Hook.Record), which ends with ctx.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// InsertState asks the node to write its recorded state into its recording with an id (see Hook.InsertState), so
	// that the next file can begin with it. nil: only the first file begins with a state.
	InsertState func(ctx context.Context, id string) error
	Writer      *recording.Writer
	Logger      *slog.Logger // nil discards
}

const (
	idleTimeout  = 15 * time.Second       // without a line, after which the node counts as unreachable
	minRetryWait = 100 * time.Millisecond // between two attempts to reach it again
	maxRetryWait = 5 * time.Second

	// maxTimeOffset is by how much a node's time may differ from the expected one after a broken connection. If it
	// differs by more, the node has been restarted.
	maxTimeOffset = 5 * time.Second

	// stateTimeout is how long a full file waits for the state that the next one begins with.
	stateTimeout = 15 * time.Second

	// lingerTime is how long a recording continues after its end was requested: the node sends events with a delay.
	lingerTime = settleTime + 4*writeEvery
)

// Copy copies the recording that a node sends until ctx ends, which is no error, and lingerTime longer; or until the
// recording cannot be written. While the node is unreachable, Copy tries to reach it again and the recording has NATS
// as lost, since nothing is received. Only if the node does not answer at first, Copy fails. Each event is in the file
// a second later, even if the process is killed. The caller closes the writer afterwards.
func Copy(ctx context.Context, o CopyOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := copier{CopyOptions: o, nodeUp: true}
	defer c.startFlushing()()
	for wait := minRetryWait; ; wait = min(2*wait, maxRetryWait) {
		c.events = 0
		err := c.connect(ctx)
		var unwritten *writeError
		switch {
		case errors.As(err, &unwritten):
			return unwritten.err
		case ctx.Err() != nil:
			return nil
		case !c.begun:
			return err
		}
		if c.events > 0 {
			wait = minRetryWait
			o.Logger.Warn("the node is unreachable; the recording continues when it is back", "node", o.Name, "error", err)
		} else {
			o.Logger.Debug("the node is still unreachable", "node", o.Name, "error", err)
		}
		if c.recordedUp {
			c.recordedUp = false
			err := c.writing(func() error { return o.Writer.Link(o.Writer.LastTime(), false, false) })
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// copier is one call of Copy.
type copier struct {
	CopyOptions
	begun      bool              // the node has answered once
	nodeUp     bool              // the node's link, as its newest line says
	recordedUp bool              // the link as the copy has it
	events     int               // of the present connection
	received   time.Time         // when the newest event came
	shift      time.Duration     // added to the node's times, which start again when the node is restarted
	payloads   map[string][]byte // the newest heartbeat of each DEA, if the copy is in several files
	read       desired.Read      // the newest complete one
	request    *stateRequest     // the state that was asked for; nil: none

	mu      sync.Mutex // guards the writer, which another goroutine flushes
	pending bool       // something was written since the last flush
}

// stateRequest is a request for the state of the node.
type stateRequest struct {
	at      time.Time
	refused atomic.Bool
}

// writing calls do while nothing is flushed.
func (c *copier) writing(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = true
	return do()
}

// startFlushing flushes the writer every flushEvery until the returned function is called. Without that a compressor
// would keep its input for many minutes.
func (c *copier) startFlushing() (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
			}
			c.mu.Lock()
			if c.pending {
				c.pending = false
				_ = c.Writer.Flush() // the next write returns the error: a compressor keeps it
			}
			c.mu.Unlock()
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}

// writeError is an error of the recording that is written, as opposed to the one that is read.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// connect copies what one connection sends.
func (c *copier) connect(ctx context.Context) error {
	request, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer func() { stop() }()
	body, err := c.Open(request)
	if err != nil {
		return err
	}
	idle := &idleTimer{Timer: time.AfterFunc(idleTimeout, cancel)}
	defer idle.Stop()
	r, err := recording.NewReader(recording.Source{
		Name: c.Name, Open: func() (io.ReadCloser, error) { return watchedReader{body, idle}, nil },
	})
	if err != nil {
		_ = body.Close() // it was only read
		return err
	}
	defer r.Close()
	if stop() { // from here on, an end waits for what the node still has to send
		stop = context.AfterFunc(ctx, func() {
			c.Logger.Info("ending in a few seconds, after the node's last events", "node", c.Name)
			idle.linger()
		})
	}
	h := r.Header()
	if !c.begun {
		c.begun, c.recordedUp = true, true
		c.Writer.SetOrigin(h.Node, h.Config)
		c.Logger.Info("recording the node", "node", c.Name)
	} else {
		c.shift = c.shiftFor(h.Started)
		c.Logger.Info("the node is back", "node", c.Name)
	}
	c.nodeUp, c.request = true, nil
	c.payloads = map[string][]byte{}
	r.AllowStates()
	c.Writer.DelayRotation(func() bool { return c.awaitState(request, &asking, h.ID) })
	defer c.Writer.DelayRotation(nil)
	for {
		var e recording.Event
		if err := r.Next(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the node ended the recording")
			} else if errors.Is(err, recording.ErrTruncated) {
				err = errors.New("the connection broke")
			}
			return err
		}
		c.shiftTimes(&e)
		if err := c.writing(func() error { return c.write(&e) }); err != nil {
			return &writeError{err}
		}
		c.events++
		c.received = time.Now()
	}
}

// shiftFor returns by how much to shift the times of a node that begin at started: 0 if the node was running all the
// time. The time of a node that was restarted begins at its newest log entry.
func (c *copier) shiftFor(started time.Time) time.Duration {
	last := c.Writer.LastTime()
	expected := last.Add(time.Since(c.received) + settleTime)
	if off := expected.Sub(started); off.Abs() > maxTimeOffset || started.Before(last) {
		return off
	}
	return 0
}

// awaitState is called when a file is full. It reports whether to wait for the state that the next file begins with,
// and asks the node for it. The times in a state are the node's, so it is of no use while they are shifted.
func (c *copier) awaitState(ctx context.Context, asking *sync.WaitGroup, id string) bool {
	if c.InsertState == nil || id == "" || c.shift != 0 {
		return false
	}
	if c.request == nil {
		q := &stateRequest{at: time.Now()}
		c.request = q
		asking.Go(func() {
			if err := c.InsertState(ctx, id); err != nil && ctx.Err() == nil {
				q.refused.Store(true)
				c.Logger.Debug("the next file of the recording begins without the state", "node", c.Name, "error", err)
			}
		})
	}
	if !c.request.refused.Load() && time.Since(c.request.at) < stateTimeout {
		return true
	}
	c.request = nil
	return false
}

// writeState writes a state: the first one at the beginning, a later one at the beginning of another file, if one was
// asked for.
func (c *copier) writeState(e *recording.Event) error {
	w := c.Writer
	switch {
	case !w.Begun():
		return w.Snapshot(e.At, e.State)
	case c.request == nil || c.events == 0: // the node was unreachable: the recording continues with what it has
		return nil
	}
	c.request = nil
	return w.Rotate(e.At, e.State)
}

// shiftTimes gives an event its time in the copy.
func (c *copier) shiftTimes(e *recording.Event) {
	e.At, e.Began = e.At.Add(c.shift), e.Began.Add(c.shift)
	if e.Hold.Until != 0 {
		e.Hold.Until = e.Hold.Until.Add(c.shift)
	}
}

// idleTimer fires when the node has sent nothing for idleTimeout, or lingerTime after the end was requested.
type idleTimer struct {
	*time.Timer
	ending atomic.Bool
}

func (t *idleTimer) linger() {
	t.ending.Store(true)
	t.Reset(lingerTime)
}

// watchedReader resets the idle timer with each read that returns something.
type watchedReader struct {
	io.ReadCloser
	idle *idleTimer
}

func (w watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 && !w.idle.ending.Load() {
		w.idle.Reset(idleTimeout)
	}
	return n, err
}

func (c *copier) write(e *recording.Event) error {
	w := c.Writer
	if e.Type == recording.TypeLink {
		c.nodeUp = e.Up
	}
	if w.IsLeaderless() && c.events == 0 { // a node can be recorded only while there is a leader
		if err := w.Leader(e.At); err != nil {
			return err
		}
	}
	// The node is back. If its NATS link is down, the line after the state says so.
	if c.nodeUp && !c.recordedUp && e.Type != recording.TypeState && e.Type != recording.TypeLink {
		c.recordedUp = true
		if err := w.Link(e.At, true, false); err != nil {
			return err
		}
	}
	switch e.Type {
	case recording.TypeNATS:
		return c.message(e)
	case recording.TypeDesired:
		switch {
		case !e.OnlyApp.IsZero():
			return w.DesiredApp(e.At, e.Began, e.OnlyApp, e.Read.Apps, e.ReadError())
		case e.Failed == "" && !e.Unchanged:
			c.read = e.Read
		}
		return w.Desired(e.At, e.Began, c.read, e.ReadError())
	case recording.TypeLink:
		c.recordedUp = e.Up
		return w.Link(e.At, e.Up, e.Gap)
	case recording.TypeLeader:
		if e.Leaderless {
			return w.Leaderless(e.At)
		}
		return w.Leader(e.At)
	case recording.TypeHold:
		return w.Hold(e.At, e.Hold, e.Released)
	case recording.TypeState:
		return c.writeState(e)
	}
	return fmt.Errorf("recording an event of type %d", e.Type)
}

// message writes a message. A repeated heartbeat is written short, unless the file does not have the one that it
// repeats: then the payload is written in full.
func (c *copier) message(e *recording.Event) error {
	w := c.Writer
	if e.Repeat != "" {
		if done, err := w.Repeat(e.At, e.Repeat); done || err != nil {
			return err
		}
		e.Data = c.payloads[e.Repeat]
	} else if e.Subject == feed.SubjectHeartbeat && w.Rotates() {
		if hb, err := feed.DecodeHeartbeat(e.Data); err == nil {
			c.payloads[hb.DEA] = bytes.Clone(e.Data)
		}
	}
	return w.Message(e.At, e.Subject, e.Data)
}
