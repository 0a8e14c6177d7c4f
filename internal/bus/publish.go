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
	// ErrDown means that the message was certainly not sent, and will not be: the link is down, or the context ended
	// before it was the message's turn.
	ErrDown = errors.New("nats link is down: the message was not sent")
	// ErrUnknown means that the message may or may not have reached the server: the link broke, or the context ended,
	// before the server confirmed it.
	ErrUnknown = errors.New("nats did not confirm the message: it may have been sent")
	// ErrRefused means that the server, or the client library, does not accept the message: no permission for the
	// subject, too large, a bad subject. Such errors are ErrDown, too: the message was not sent.
	ErrRefused = errors.New("nats refuses the message")
	// ErrNoResponders means that nobody subscribes to a request's subject.
	ErrNoResponders = errors.New("nobody answers on this nats subject")
)

// publishTimeout bounds a publish or request whose context has no deadline.
const publishTimeout = 30 * time.Second

// refused is a message that the server does not accept, with the server's text.
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
	Data    []byte // must not be changed from then on, not even when the publish has returned
}

// job is a batch for the publisher. It belongs to the session in which the caller asked for it: if that has ended when
// it is the batch's turn, the batch is not sent, even if the link is up again.
type job struct {
	ctx   context.Context
	epoch uint64 // in which it is to be sent; 0: in any
	ses   *session
	outs  []Out
	done  chan []error // capacity 1
}

// Publish sends one message and waits until the server has confirmed it. The errors are ErrDown, ErrUnknown and
// ErrRefused; nothing is kept for later. It returns at the latest when ctx ends.
func (l *Link) Publish(ctx context.Context, subject string, data []byte) error {
	return l.PublishBatch(ctx, []Out{{Subject: subject, Data: data}})[0]
}

// PublishBatch is Publish for several messages with one confirmation for all; it returns one error for each.
func (l *Link) PublishBatch(ctx context.Context, outs []Out) []error {
	return l.PublishBatchIn(ctx, 0, outs)
}

// PublishBatchIn is PublishBatch for messages that depend on what was received in an epoch of the link: once the link has
// had a gap they are not sent, and the error is ErrDown.
func (l *Link) PublishBatchIn(ctx context.Context, epoch uint64, outs []Out) []error {
	errs := make([]error, len(outs))
	ses := l.current()
	if ses == nil {
		return fill(errs, ErrDown)
	}
	if len(outs) == 0 {
		return errs
	}
	// The library's publish may block on a connection whose peer reads nothing, whatever ctx is. So a goroutine of the
	// link publishes, one batch at a time, and this one waits for it.
	j := &job{ctx: ctx, epoch: epoch, ses: ses, outs: outs, done: make(chan []error, 1)}
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

// publisher sends batches until the link stops.
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
		before[s] = l.notePublish(s)
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
		switch err := j.ses.nc.Publish(o.Subject, o.Data); {
		case err == nil:
			accepted++
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
			errs[i] = ErrDown
		case errors.Is(err, nats.ErrMaxPayload):
			err = fmt.Errorf("%w: %d bytes, its max_payload is %d", err, len(o.Data), j.ses.nc.MaxPayload())
			l.noteRefusal(j.ses,
				violation{RefusedPublish, o.Subject, err.Error(), "raise max_payload of the nats server"})
			errs[i] = refused{o.Subject, err}
			tooLarge[o.Subject]++
		case errors.Is(err, nats.ErrBadSubject):
			errs[i] = refused{o.Subject, err}
		default: // part of it may have been sent
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
	if accepted == 0 {
		return errs
	}
	err := l.confirm(j)
	if err == nil {
		j.ses.awaitRefusals()
	}
	after := l.counts(RefusedPublish, subjects...)
	for i := range errs {
		subject := j.outs[i].Subject
		switch {
		case errs[i] != nil:
		case after[subject] != before[subject]+tooLarge[subject]:
			errs[i] = refused{subject, errors.New(l.serverText(RefusedPublish, subject))}
		case err != nil:
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, err)
		case tooLarge[subject] == 0:
			l.noteGrant(refusalKey{RefusedPublish, subject})
		}
	}
	return errs
}

// subjectsOf gives the valid subjects of messages, each once.
func subjectsOf(outs []Out) []string {
	var subjects []string
	for _, o := range outs {
		if validSubject(o.Subject) == nil && !slices.Contains(subjects, o.Subject) {
			subjects = append(subjects, o.Subject)
		}
	}
	return subjects
}

// confirm waits for the server's answer to a ping that follows the messages.
func (l *Link) confirm(j *job) error {
	ctx, cancel := l.bounded(j.ctx)
	defer cancel()
	return j.ses.nc.FlushWithContext(ctx)
}

// bounded gives a context that also ends with the link, and after publishTimeout at the latest.
func (l *Link) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	unhook := context.AfterFunc(l.stop, cancel)
	return ctx, func() { unhook(); cancel() }
}

// current returns the session, nil while the link is down.
func (l *Link) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// MaxPayload is the greatest size of a message in bytes on the present connection; 0 if there is none.
func (l *Link) MaxPayload() int {
	ses := l.live.Load()
	if ses == nil {
		return 0
	}
	return int(ses.nc.MaxPayload())
}

// Answer sends the answer to the request m. It does not wait for a confirmation: the client will ask again. It does
// nothing if m expects no answer.
func (l *Link) Answer(m Msg, data []byte) error {
	if m.Reply == "" {
		return nil
	}
	ses := l.live.Load()
	if ses == nil {
		return ErrDown
	}
	if err := ses.nc.Publish(m.Reply, data); err != nil {
		return fmt.Errorf("answer a request on %s: %w", m.Subject, err)
	}
	return nil
}

// Hand publishes the request m on another subject: whoever hears it there answers it. It does not wait for a
// confirmation.
func (l *Link) Hand(m Msg, subject string) error {
	if err := validSubject(subject); err != nil {
		return refused{subject, err}
	}
	ses := l.live.Load()
	if ses == nil {
		return ErrDown
	}
	if err := ses.nc.PublishRequest(subject, m.Reply, m.Data); err != nil {
		return fmt.Errorf("hand a request on %s over on %s: %w", m.Subject, subject, err)
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
	ses := l.up
	if ses == nil || l.closed {
		l.mu.Unlock()
		return nil, ErrDown
	}
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	before := l.notePublish(subject)
	l.calls.Go(func() { // may block like a publish, and ends with ctx or with the connection
		ctx, cancel := l.bounded(ctx)
		defer cancel()
		m, err := ses.nc.RequestWithContext(ctx, subject, data)
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

// requestError gives the error of a failed request. before is how often the subject had been refused before it.
func (l *Link) requestError(subject string, before uint64, err error) error {
	switch {
	case l.counts(RefusedPublish, subject)[subject] != before:
		return refused{subject, errors.New(l.serverText(RefusedPublish, subject))}
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("request on %s: %w", subject, ErrNoResponders)
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		return refused{subject, err}
	}
	return fmt.Errorf("request on %s: %w: %w", subject, ErrUnknown, err)
}

// notePublish notes that this link publishes on subject, and gives how often that has been refused. l.mu must be held.
func (l *Link) notePublish(subject string) uint64 {
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
