package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

var (
	// ErrDown means that the message surely was not sent, and will not be: the link is down, or the context
	// ended before the message's turn came.
	ErrDown = errors.New("nats link is down: the message was not sent")
	// ErrUnknown means that the message may or may not have reached the server: the link broke, or the context
	// ended, after it was handed over and before the server confirmed it.
	ErrUnknown = errors.New("nats did not confirm the message: it may have been sent")
	// ErrRefused means that the server, or the client library on its behalf, does not take the message: no
	// permission for the subject, too large, a bad subject. Such errors are ErrDown as well: it was not sent.
	ErrRefused = errors.New("nats refuses the message")
	// ErrNoResponders means that nobody listens on a request's subject.
	ErrNoResponders = errors.New("nobody answers on this nats subject")
)

// publishTimeout ends a publish or request whose context has no end of its own.
const publishTimeout = 30 * time.Second

// refused is a message that the server does not take, with its words.
type refused struct {
	subject string
	cause   error
}

func (r refused) Error() string {
	return fmt.Sprintf("nats refuses the message on %.80s: %s", r.subject, r.cause)
}
func (r refused) Unwrap() error        { return r.cause }
func (r refused) Is(target error) bool { return target == ErrRefused || target == ErrDown }

// Out is one message to publish.
type Out struct {
	Subject string
	Data    []byte // must not be changed after it was handed over, not even when the publish has returned
}

// job is a batch on its way through the publisher. It is bound to the connection of the spell in which it was asked
// for: if that is gone when its turn comes, the batch is not sent, though the link may be up again.
type job struct {
	ctx   context.Context
	epoch uint64 // in which it is to be sent; 0: in any
	sp    *spell
	outs  []Out
	done  chan []error // capacity 1
}

// Publish sends one message and waits until the server has confirmed it. The errors are ErrDown, ErrUnknown and
// ErrRefused; nothing is kept for later. It returns when ctx ends, at the latest.
func (l *Link) Publish(ctx context.Context, subject string, data []byte) error {
	return l.PublishBatch(ctx, []Out{{Subject: subject, Data: data}})[0]
}

// PublishBatch is Publish for several messages with one confirmation for all; it returns one error for each.
func (l *Link) PublishBatch(ctx context.Context, outs []Out) []error {
	return l.PublishBatchIn(ctx, 0, outs)
}

// PublishBatchIn is PublishBatch for messages that rest on what was heard in an epoch of the link: once the link has had
// a gap they are not sent, and the error is ErrDown.
func (l *Link) PublishBatchIn(ctx context.Context, epoch uint64, outs []Out) []error {
	errs := make([]error, len(outs))
	sp := l.current()
	if sp == nil {
		return fill(errs, ErrDown)
	}
	if len(outs) == 0 {
		return errs
	}
	// The library's publish may block on a connection that no longer drains, whatever ctx says. So it is done by
	// a goroutine of the link's, one batch at a time, and waited for here.
	j := &job{ctx: ctx, epoch: epoch, sp: sp, outs: outs, done: make(chan []error, 1)}
	select {
	case <-ctx.Done():
		return fill(errs, notSent(ctx))
	case <-l.stop.Done():
		return fill(errs, ErrDown)
	default:
	}
	select {
	case l.jobs <- j:
	case <-ctx.Done():
		return fill(errs, notSent(ctx))
	case <-l.stop.Done():
		return fill(errs, ErrDown)
	}
	select {
	case got := <-j.done:
		return got
	case <-ctx.Done():
	}
	select {
	case got := <-j.done:
		return got
	default:
		return fill(errs, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err()))
	}
}

// publisher sends the batches, until the link stops.
func (l *Link) publisher() {
	for {
		select {
		case j := <-l.jobs:
			j.done <- l.send(j)
		case <-l.stop.Done():
			return
		}
	}
}

func (l *Link) send(j *job) []error {
	errs := make([]error, len(j.outs))
	if j.epoch != 0 && l.State().Epoch != j.epoch {
		return fill(errs, fmt.Errorf("%w: the link has had a gap since the commands were decided", ErrDown))
	}
	subjects := subjectsOf(j.outs)
	before := map[string]uint64{}
	l.mu.Lock()
	for _, s := range subjects {
		before[s] = l.noteAsked(s)
	}
	l.mu.Unlock()
	accepted, tooLarge := 0, map[string]uint64{}
	for i, o := range j.outs {
		if j.ctx.Err() != nil {
			errs[i] = notSent(j.ctx)
			continue
		}
		if err := validSubject(o.Subject); err != nil {
			errs[i] = refused{o.Subject, err}
			continue
		}
		switch err := j.sp.nc.Publish(o.Subject, o.Data); {
		case err == nil:
			accepted++
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
			errs[i] = ErrDown
		case errors.Is(err, nats.ErrMaxPayload):
			err = fmt.Errorf("%w: %d bytes, its max_payload is %d", err, len(o.Data), j.sp.nc.MaxPayload())
			l.refuse(j.sp, violation{RefusedPublish, o.Subject, err.Error(), "raise max_payload of the nats server"})
			errs[i] = refused{o.Subject, err}
			tooLarge[o.Subject]++
		case errors.Is(err, nats.ErrBadSubject):
			errs[i] = refused{o.Subject, err}
		default: // part of it may be on the wire
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
	if accepted == 0 {
		return errs
	}
	err := l.confirm(j)
	if err == nil {
		j.sp.settle()
	}
	after := l.counts(RefusedPublish, subjects...)
	for i := range errs {
		subject := j.outs[i].Subject
		switch {
		case errs[i] != nil:
		case after[subject] != before[subject]+tooLarge[subject]:
			errs[i] = refused{subject, errors.New(l.words(RefusedPublish, subject))}
		case err != nil:
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, err)
		case tooLarge[subject] == 0:
			l.granted(refusalKey{RefusedPublish, subject})
		}
	}
	return errs
}

// subjectsOf gives the subjects of messages that have one, each once.
func subjectsOf(outs []Out) []string {
	var subjects []string
	for _, o := range outs {
		if validSubject(o.Subject) == nil && !slices.Contains(subjects, o.Subject) {
			subjects = append(subjects, o.Subject)
		}
	}
	return subjects
}

// confirm waits for the server's answer to a ping behind everything that was sent.
func (l *Link) confirm(j *job) error {
	ctx, cancel := l.bounded(j.ctx)
	defer cancel()
	return j.sp.nc.FlushWithContext(ctx)
}

// bounded gives a context that also ends with the link, and at some time in any case.
func (l *Link) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	unhook := context.AfterFunc(l.stop, cancel)
	return ctx, func() { unhook(); cancel() }
}

// current returns the spell while the link is up.
func (l *Link) current() *spell {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// MaxPayload is how many bytes a message may have on the present connection; 0 if there is none.
func (l *Link) MaxPayload() int {
	sp := l.live.Load()
	if sp == nil {
		return 0
	}
	return int(sp.nc.MaxPayload())
}

// Answer sends the answer to a request that m is. It does not wait for a confirmation: whoever asked will ask
// again. A message that expects no answer is passed over in silence.
func (l *Link) Answer(m Msg, data []byte) error {
	if m.Reply == "" {
		return nil
	}
	sp := l.live.Load()
	if sp == nil {
		return ErrDown
	}
	if err := sp.nc.Publish(m.Reply, data); err != nil {
		return fmt.Errorf("answer a request on %s: %w", m.Subject, err)
	}
	return nil
}

// Request publishes a question and returns the first answer. The errors are ErrDown, ErrRefused, ErrNoResponders,
// and ErrUnknown when no answer came before ctx ended or the link broke.
func (l *Link) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if err := validSubject(subject); err != nil {
		return nil, refused{subject, err}
	}
	if ctx.Err() != nil {
		return nil, notSent(ctx)
	}
	l.mu.Lock()
	sp := l.up
	if sp == nil || l.closed {
		l.mu.Unlock()
		return nil, ErrDown
	}
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	before := l.noteAsked(subject)
	l.calls.Go(func() { // it may block like a publish, and ends with ctx or with the connection
		ctx, cancel := l.bounded(ctx)
		defer cancel()
		m, err := sp.nc.RequestWithContext(ctx, subject, data)
		if err != nil {
			done <- answer{err: l.requestError(subject, before, err)}
			return
		}
		done <- answer{data: m.Data}
	})
	l.mu.Unlock()
	select {
	case a := <-done:
		return a.data, a.err
	case <-ctx.Done():
		return nil, l.requestError(subject, before, ctx.Err())
	}
}

// requestError says what a request has failed with. before is how often the subject had been refused until then.
func (l *Link) requestError(subject string, before uint64, err error) error {
	switch {
	case l.counts(RefusedPublish, subject)[subject] != before:
		return refused{subject, errors.New(l.words(RefusedPublish, subject))}
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("request on %s: %w", subject, ErrNoResponders)
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		return refused{subject, err}
	}
	return fmt.Errorf("request on %s: %w: %w", subject, ErrUnknown, err)
}

// noteAsked notes that this link publishes on subject, and gives how often that has been refused. It must be called with
// l.mu held.
func (l *Link) noteAsked(subject string) uint64 {
	if len(l.refused.published) < maxPublished {
		l.refused.published[subject] = true
	}
	return l.refused.total[refusalKey{RefusedPublish, subject}]
}

func notSent(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrDown, ctx.Err()) }

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}
