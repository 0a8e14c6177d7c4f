// Package ccpub publishes start and stop commands to the Cloud Controller over HTTP (N23 to N25). A command is posted
// once: net/http repeats no post of this package, and no redirect is followed.
package ccpub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hm/commands"
	"hm/commands/natspub"
	"hm/internal/sampled"
	"hm/internal/tlsfiles"
)

// The errors of Publish. Each error is one of them, with a text for people.
var (
	// ErrNotSent means that the command was certainly not posted, and will not be.
	ErrNotSent = errors.New("the command was not posted")
	// ErrRefused means that the Cloud Controller, or what answers in its place, takes no command of this kind from hm:
	// the credentials or the URL are wrong. It would refuse the command again.
	ErrRefused = errors.New("the Cloud Controller refuses the command")
	// ErrNoEffect means that the Cloud Controller got the command and said that it does nothing.
	ErrNoEffect = errors.New("the Cloud Controller did nothing")
	// ErrUnknown means that the command may or may not have had an effect.
	ErrUnknown = errors.New("it is not known what the Cloud Controller did")
)

const (
	parallel       = 16              // posts at a time
	idleTimeout    = 5 * time.Second // shorter than that of a Cloud Controller: a post on a connection that it closes may be lost
	maxHeaderBytes = 64 << 10
	logPeriod      = 10 * time.Second
	logLines       = 5
)

// Options configure a Publisher.
type Options struct {
	URL      string        // base URL of the Cloud Controller; http or https, without user or query
	Username string        // for basic authentication; empty: none
	Password string        // never logged
	TLS      *tlsfiles.Set // nil: the system's authorities are trusted
	Period   time.Duration // of heartbeats
	Timeout  time.Duration // of a batch of commands and of a probe

	// Spell gives the letter case of the guids of a command; nil: small letters.
	Spell func(commands.Command) commands.Spelling
	// Allowed gives a function that is asked before each post of a batch and gives an error if it may not be made any
	// more: the NATS link had a gap since the epoch began, or this node leads no more. nil: every post is allowed.
	Allowed func(epoch uint64) func() error
	// Unknown publishes a stop of an app that the Cloud Controller does not know over NATS, where it carries such a stop
	// out (W01). Its error is given as the command's. nil: such a stop has no effect.
	Unknown func(ctx context.Context, epoch uint64, c commands.Command) error
	// Observe is called with each answer to a post, or with the status 0 if there was none; nil: it is not called.
	Observe func(action commands.Action, status int, took time.Duration)
	Changed func()       // called when the Cloud Controller becomes reachable or unreachable; nil: it is not called
	Logger  *slog.Logger // nil discards
}

// Publisher posts commands to one Cloud Controller. It has no queue: a command is posted within the call or not at all.
// While this node leads, Watch asks whether the Cloud Controller can be reached.
type Publisher struct {
	options   Options
	base      *url.URL
	transport *tlsfiles.Transport
	log       *sampled.Log

	mu        sync.Mutex
	reach     reachability
	wake      chan struct{}      // capacity 1: the leadership changed
	stopProbe context.CancelFunc // of the probe that runs; nil: none does
	refused   [commands.Stop + 1]Refusal
}

// New makes a Publisher. It does not connect.
func New(o Options) (*Publisher, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("commands.cc_url cannot be parsed") // a quoted URL might show a password
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("commands.cc_url %.100q must be an http:// or https:// URL with a host, without user, query and fragment",
			u.Redacted())
	}
	if o.Timeout <= 0 || o.Period <= 0 {
		return nil, fmt.Errorf("publishing over http: the timeout is %s and the heartbeat period %s, both must be above 0", o.Timeout, o.Period)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Publisher{
		options: o, base: u, transport: tlsfiles.NewTransport(o.TLS, o.newTransport), log: sampled.New(o.Logger, logPeriod, logLines),
		reach: reachability{period: o.Period}, wake: make(chan struct{}, 1),
	}, nil
}

func (o Options) newTransport(secure *tls.Config) *http.Transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true) // HTTP/2 would repeat a request that the server has not begun to handle
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: o.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    o.Timeout,
		Protocols:              http1,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    parallel,
		MaxConnsPerHost:        parallel + 1, // one for a probe
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
	}
}

// Close closes idle connections. No other method may run.
func (p *Publisher) Close() { p.transport.CloseIdleConnections() }

// Publish posts commands, several at a time, and gives an error for each: nil if the Cloud Controller accepted it (which
// does not say that it acts: N25, W58), or one that is ErrNotSent, ErrRefused, ErrNoEffect or ErrUnknown, or the error of
// Options.Unknown. It posts nothing once Options.Allowed forbids it or the Cloud Controller cannot be reached. It begins
// no post in the last half of its time, so that a Cloud Controller that answers slowly does not look like one that hangs.
// It returns when ctx ends, and after Options.Timeout, at the latest.
func (p *Publisher) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	b := batch{Publisher: p, epoch: epoch, until: time.Now().Add(p.options.Timeout / 2), allowed: func() error { return nil }}
	if p.options.Allowed != nil {
		b.allowed = p.options.Allowed(epoch)
	}
	errs := make([]error, len(cmds))
	var taken atomic.Int64
	var posting sync.WaitGroup
	for range min(parallel, len(cmds)) {
		posting.Go(func() {
			for {
				i := int(taken.Add(1)) - 1
				if i >= len(cmds) {
					return
				}
				errs[i] = b.publish(ctx, cmds[i])
			}
		})
	}
	posting.Wait()
	return errs
}

// batch is one call of Publish.
type batch struct {
	*Publisher
	epoch   uint64
	until   time.Time // no post begins later
	allowed func() error
}

func (b *batch) publish(ctx context.Context, c commands.Command) error {
	path, body, err := b.message(c)
	if err != nil {
		return about(c, err)
	}
	if err := b.may(ctx); err != nil {
		return about(c, err)
	}
	v, err := b.post(ctx, c.Action, path, body)
	if err != nil {
		return about(c, err)
	}
	b.noteAnswer(c.Action, v)
	switch {
	case v.unknownApp && b.options.Unknown != nil:
		if err := b.allowed(); err != nil { // the answer may have come late
			return about(c, failure{ErrNotSent, err.Error()})
		}
		return b.options.Unknown(ctx, b.epoch, c)
	case v.err != nil:
		return about(c, v.err)
	}
	return nil
}

// may gives an error if no further post may begin.
func (b *batch) may(ctx context.Context) error {
	switch now := time.Now(); {
	case ctx.Err() != nil:
		return failure{ErrNotSent, "its time was over before its turn: " + ctx.Err().Error()}
	case now.After(b.until):
		return failure{ErrNotSent, "the commands before it took too long"}
	case !b.isUp():
		return failure{ErrNotSent, "the Cloud Controller cannot be reached"}
	}
	if err := b.allowed(); err != nil {
		return failure{ErrNotSent, err.Error()}
	}
	return nil
}

// message gives the path and the body of a command.
func (p *Publisher) message(c commands.Command) (path string, body []byte, err error) {
	var s commands.Spelling
	if p.options.Spell != nil {
		s = p.options.Spell(c)
	}
	_, body, err = natspub.Message(c, s)
	if err != nil {
		// The Cloud Controller would read a stop without a guid as a stop of every instance of the app (N20, N29).
		return "", nil, failure{ErrRefused, "it is neither a start nor a stop of an instance"}
	}
	return p.base.JoinPath("internal", "dea", "hm9000", c.Action.String(), url.PathEscape(s.Droplet(c))).String(), body, nil
}

// failure is an error with a text of its own.
type failure struct {
	is   error
	text string
}

func (f failure) Error() string        { return f.text }
func (f failure) Is(target error) bool { return target == f.is }

func about(c commands.Command, err error) error {
	return fmt.Errorf("post %s %s: %w", c.Action, c.ID.String(), err)
}

// Refusal says that the Cloud Controller takes no commands of an action.
type Refusal struct {
	Action commands.Action
	Error  string    // with what to do
	Since  time.Time // of the first refusal since a command was taken
	Last   time.Time
	Count  uint64
}

// noteAnswer notes whether the Cloud Controller takes commands of an action.
func (p *Publisher) noteAnswer(action commands.Action, v verdict) {
	refused := errors.Is(v.err, ErrRefused)
	p.mu.Lock()
	r := &p.refused[action]
	began := refused && r.Count == 0
	if refused {
		now := time.Now()
		if began {
			*r = Refusal{Action: action, Since: now}
		}
		r.Error, r.Last, r.Count = v.err.Error(), now, r.Count+1
	} else {
		*r = Refusal{}
	}
	p.mu.Unlock()
	if refused {
		p.log.Log(slog.LevelWarn, "refused "+action.String(), "the Cloud Controller refuses commands",
			func() []any { return []any{"action", action.String(), "error", v.err} })
	}
	if began && p.options.Changed != nil {
		p.options.Changed()
	}
}

// Refusals gives what the Cloud Controller refuses now, by action.
func (p *Publisher) Refusals() []Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.refused[:]), func(r Refusal) bool { return r.Count == 0 })
}
