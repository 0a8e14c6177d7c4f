package replay

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
)

// CopyOptions say which node's recording to take down.
type CopyOptions struct {
	Name string // of the node's address, for errors
	// Open begins a recording of the node (see Tap), which ends with ctx.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// State has the node put what is recorded into its recording with an id (see Tap.State), so that a further part can
	// begin with it. nil: only the first part does.
	State  func(ctx context.Context, id string) error
	Writer *Writer
	Logger *slog.Logger // nil discards
}

const (
	copyIdle    = 15 * time.Second       // without a word, after which the node counts as gone
	copyMinWait = 100 * time.Millisecond // between two attempts to reach it again
	copyMaxWait = 5 * time.Second

	// copyWaver is by how much the time of a node that was there all along may differ from what it seems to be.
	copyWaver = 5 * time.Second

	// copyState is how long a part that is full waits for the state that the next one begins with.
	copyState = 15 * time.Second

	// copyLinger is for how long a recording goes on when it is to end: the node tells what happens with a delay.
	copyLinger = tapSettle + 4*tapLook
)

// Copy takes down the recording of a node until ctx ends, which is no error, and a little longer for what happened until
// then; or until it cannot be written. When the node goes away it waits for its return; for the recording NATS is lost in
// between, since nothing is heard. Only if the node does not answer at first does Copy fail. What was taken down is in the
// file a second later, whatever becomes of the process. The caller closes the writer afterwards.
func Copy(ctx context.Context, o CopyOptions) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := copier{CopyOptions: o, up: true}
	defer c.flushing()()
	for wait := copyMinWait; ; wait = min(2*wait, copyMaxWait) {
		c.events = 0
		err := c.take(ctx)
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
			wait = copyMinWait
			o.Logger.Warn("the node is gone; its recording goes on when it is back", "node", o.Name, "error", err)
		} else {
			o.Logger.Debug("the node is still gone", "node", o.Name, "error", err)
		}
		if c.link {
			c.link = false
			err := c.writing(func() error { return o.Writer.Link(o.Writer.last, false, false) })
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

// copier is one Copy.
type copier struct {
	CopyOptions
	begun  bool              // the node has answered once
	up     bool              // the node's link, by its newest word
	link   bool              // the link as the recording has it
	events int               // of the present connection
	heard  time.Time         // when the newest event came
	shift  time.Duration     // of the node's times, which begin anew when it does
	last   map[string][]byte // what each DEA said last, of a recording in parts
	read   desired.Read      // the newest complete one
	asked  *question         // for the state; nil: nobody did

	mu      sync.Mutex // over the writer, which is flushed meanwhile
	pending bool       // something was written since it was
}

// question is one for the state of the node.
type question struct {
	at      time.Time
	refused atomic.Bool
}

// writing writes while nothing is flushed.
func (c *copier) writing(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = true
	return do()
}

// flushing hands what was written over to the file every recordFlush, until it is ended. A compressor would keep it to
// itself for many minutes.
func (c *copier) flushing() (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		due := time.NewTicker(recordFlush)
		defer due.Stop()
		for {
			select {
			case <-stop:
				return
			case <-due.C:
			}
			c.mu.Lock()
			if c.pending {
				c.pending = false
				_ = c.Writer.Flush() // the next write tells of an error: a compressor keeps it
			}
			c.mu.Unlock()
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// writeError is an error of the recording that is written, as opposed to the one that is read.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// take takes down what one connection gives.
func (c *copier) take(ctx context.Context) error {
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
	silent := &alarm{Timer: time.AfterFunc(copyIdle, cancel)}
	defer silent.Stop()
	r, err := NewReader(Source{Name: c.Name, Open: func() (io.ReadCloser, error) { return watched{body, silent}, nil }})
	if err != nil {
		_ = body.Close() // it was only read
		return err
	}
	defer r.Close()
	if stop() { // from here on, what the node still has to tell is waited for
		stop = context.AfterFunc(ctx, func() {
			c.Logger.Info("ending in a few seconds, with what the node still has to tell", "node", c.Name)
			silent.linger()
		})
	}
	if !c.begun {
		c.begun, c.link = true, true
		c.Writer.opts.Header.Config, c.Writer.opts.Header.Node = r.Header().Config, r.Header().Node
		c.Logger.Info("the node is being recorded", "node", c.Name)
	} else {
		c.shift = c.offset(r.Header().Started)
		c.Logger.Info("the node is back")
	}
	c.up, c.asked = true, nil
	c.last = map[string][]byte{}
	r.live = true
	c.Writer.hold = func() bool { return c.awaitState(request, &asking, r.Header().ID) }
	defer func() { c.Writer.hold = nil }()
	for {
		var e Event
		if err := r.Next(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the node ended the recording")
			} else if errors.Is(err, ErrTruncated) {
				err = errors.New("the connection broke")
			}
			return err
		}
		c.moved(&e)
		if err := c.writing(func() error { return c.write(&e) }); err != nil {
			return &writeError{err}
		}
		c.events++
		c.heard = time.Now()
	}
}

// offset tells by how much the node's times must be moved, which now begin at started: not at all, if they go on as if
// the node had been there all along. That of a node that was started anew has been set back to its newest entry.
func (c *copier) offset(started time.Time) time.Duration {
	goesOn := c.Writer.last.Add(time.Since(c.heard) + tapSettle)
	if off := goesOn.Sub(started); off.Abs() > copyWaver || started.Before(c.Writer.last) {
		return off
	}
	return 0
}

// awaitState is called when a file is full, and reports whether it is to wait for the state that the next one begins with,
// for which it asks the node. The times in a state are the node's: it is of no use where those of the recording are not.
func (c *copier) awaitState(ctx context.Context, asking *sync.WaitGroup, id string) bool {
	if c.State == nil || id == "" || c.shift != 0 {
		return false
	}
	if c.asked == nil {
		q := &question{at: time.Now()}
		c.asked = q
		asking.Go(func() {
			if err := c.State(ctx, id); err != nil && ctx.Err() == nil {
				q.refused.Store(true)
				c.Logger.Debug("the next part of the recording begins without the state", "node", c.Name, "error", err)
			}
		})
	}
	if !c.asked.refused.Load() && time.Since(c.asked.at) < copyState {
		return true
	}
	c.asked = nil
	return false
}

// state takes what is recorded: at first for the beginning, later for that of another part, if one waits for it.
func (c *copier) state(e *Event) error {
	w := c.Writer
	switch {
	case !w.begun:
		return w.Snapshot(e.At, e.State)
	case c.asked == nil || c.events == 0: // the node was away: the recording goes on with what it has
		return nil
	}
	c.asked = nil
	return w.Rotate(e.At, e.State)
}

// moved gives an event its time in the recording.
func (c *copier) moved(e *Event) {
	e.At, e.Began = e.At.Add(c.shift), e.Began.Add(c.shift)
	if e.Hold.Until != 0 {
		e.Hold.Until = e.Hold.Until.Add(c.shift)
	}
}

// alarm goes off when the node has said nothing for copyIdle, or copyLinger after the end.
type alarm struct {
	*time.Timer
	ending atomic.Bool
}

func (a *alarm) linger() {
	a.ending.Store(true)
	a.Reset(copyLinger)
}

// watched puts off the alarm with each word.
type watched struct {
	io.ReadCloser
	silent *alarm
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 && !w.silent.ending.Load() {
		w.silent.Reset(copyIdle)
	}
	return n, err
}

func (c *copier) write(e *Event) error {
	w := c.Writer
	if e.Type == TypeLink {
		c.up = e.Up
	}
	if w.lost && c.events == 0 { // a node is recorded only while somebody leads
		if err := w.Leader(e.At); err != nil {
			return err
		}
	}
	if c.up && !c.link && e.Type != TypeState && e.Type != TypeLink { // the node is back; behind the state it says if NATS is not
		c.link = true
		if err := w.Link(e.At, true, false); err != nil {
			return err
		}
	}
	switch e.Type {
	case TypeNATS:
		return c.message(e)
	case TypeDesired:
		switch {
		case !e.Only.IsZero():
			return w.DesiredApp(e.At, e.Began, e.Only, e.Read.Apps, failure(e))
		case e.Failed == "" && !e.Unchanged:
			c.read = e.Read
		}
		return w.Desired(e.At, e.Began, c.read, failure(e))
	case TypeLink:
		c.link = e.Up
		return w.Link(e.At, e.Up, e.Gap)
	case TypeLeader:
		if e.Lost {
			return w.Leaderless(e.At)
		}
		return w.Leader(e.At)
	case TypeHold:
		return w.Hold(e.At, e.Hold, e.Released)
	case TypeState:
		return c.state(e)
	}
	return fmt.Errorf("recording an event of type %d", e.Type)
}

func failure(e *Event) error {
	if e.Failed == "" {
		return nil
	}
	return errors.New(e.Failed)
}

// message writes a message. What a DEA repeats is written short, unless it is new to the file: then what the DEA said
// last is needed in full.
func (c *copier) message(e *Event) error {
	w := c.Writer
	if e.Repeat != "" {
		if done, err := w.Repeat(e.At, e.Repeat); done || err != nil {
			return err
		}
		e.Data = c.last[e.Repeat]
	} else if e.Subject == feed.SubjectHeartbeat && w.rotates() {
		if hb, err := feed.DecodeHeartbeat(e.Data); err == nil {
			c.last[hb.DEA] = bytes.Clone(e.Data)
		}
	}
	return w.Message(e.At, e.Subject, e.Data)
}
