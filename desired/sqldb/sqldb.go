// Package sqldb reads the desired state straight from the Cloud Controller's database: PostgreSQL, MySQL or MariaDB,
// and SQLite, in both generations of its tables (D16 to D24). It gives the rows that the Cloud Controller's bulk API
// would give. A read is one snapshot of one server, complete or nothing: any failure, any doubt about what the rows
// say, and the read is refused whole, with an error that says what to do about it (I6).
package sqldb

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// Defaults of Options, and bounds on one read.
const (
	DefaultBatchSize = 5000
	DefaultTimeout   = 30 * time.Second

	// MaxApps is the most rows that one read may have.
	MaxApps = 5_000_000
	// MaxBatchSize bounds Options.BatchSize.
	MaxBatchSize = 100_000
	// appTimeout bounds the read of a single app.
	appTimeout = 5 * time.Second

	// A few rows that cannot be understood are left as they are recorded. More of them mean that the tables are
	// something else than they should be.
	unreadableRows  = 10
	unreadableShare = 100 // or one row in this many
)

// Options configure a Source.
type Options struct {
	Driver string // postgres, mysql (MariaDB too) or sqlite
	// DSN says where the database is, in one or several data source names; docs/ccdb.md has examples. Several are
	// several servers of one database, such as a primary and its replicas: any of them will do, and when one fails
	// the next is read. A line of its own sets one apart; so does any white space between postgres:// URLs and
	// between MySQL's, which have no spaces in them. A DSN that names several hosts stands for as many.
	DSN       string
	Schema    string        // v2, v3 or auto; empty: auto
	BatchSize int           // rows in a page; 0: DefaultBatchSize, at most MaxBatchSize
	Timeout   time.Duration // of a whole read; 0: DefaultTimeout
	Logger    *slog.Logger  // nil: slog.Default
}

// Source reads the desired state from one database. Its methods may be called concurrently; reads happen one after
// the other, so what a later one returns is never older than what an earlier one did.
type Source struct {
	options   Options
	targets   []target
	log       *slog.Logger
	maxApps   int           // tests lower it
	afterPage func(int)     // tests: called in a read after page n
	reading   chan struct{} // holds a value while a read is under way, and for good once closed
	closing   sync.Once

	// Of the read under way.
	current  int  // index of the target that is read from; kept as long as it works
	conn     conn // to it, or nil
	opened   time.Time
	accepted accepted // what the newest good read saw

	mu    sync.Mutex
	stats Stats
}

// New makes a Source. It connects to nothing, so the database may be away. Its errors have no secrets.
func New(o Options) (*Source, error) {
	switch o.Schema {
	case "":
		o.Schema = schemaAuto
	case schemaAuto, schemaV2, schemaV3:
	default:
		return nil, fmt.Errorf("desired state from SQL: schema %.40q is none of v2, v3, auto", o.Schema)
	}
	if o.BatchSize < 0 || o.BatchSize > MaxBatchSize || o.Timeout < 0 {
		return nil, fmt.Errorf("desired state from SQL: batch size %d is not within 0 to %d, or timeout %s is negative", o.BatchSize, MaxBatchSize, o.Timeout)
	}
	targets, err := parseDSNs(o.Driver, o.DSN)
	if err != nil {
		return nil, fmt.Errorf("desired state from SQL: %w", err)
	}
	if o.BatchSize == 0 {
		o.BatchSize = DefaultBatchSize
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Source{
		options: o, targets: targets, log: o.Logger, maxApps: MaxApps, reading: make(chan struct{}, 1),
		stats: Stats{FailuresBy: map[Kind]uint64{}, From: targets[0].name},
	}, nil
}

// Name says what is read, for people: "sql postgres db1:5432/ccdb". Of several servers it is the one that was read
// last, or that will be read first. It has no secrets.
func (s *Source) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "sql " + s.options.Driver + " " + s.stats.From
	if len(s.targets) > 1 {
		name += fmt.Sprintf(" (one of %d)", len(s.targets))
	}
	return name
}

// Close waits for a read under way to end, which its context hastens, and closes the connection. A read after that
// waits for its context.
func (s *Source) Close() {
	s.closing.Do(func() {
		s.reading <- struct{}{}
		s.disconnect()
	})
}

// Read makes one complete read. Every error is an *Error; after one, nothing of the read is kept.
func (s *Source) Read(ctx context.Context) (desired.Read, error) {
	began := time.Now()
	var read desired.Read
	var r *reading
	err := s.run(ctx, s.options.Timeout, func(ctx context.Context, snap *snapshot) (err *Error) {
		r = s.newReading(snap)
		read, err = r.all(ctx)
		read.Lag = snap.lag.by
		return err
	})
	if err != nil {
		return desired.Read{}, s.failed(err)
	}
	s.succeeded(r, read, time.Since(began))
	return read, nil
}

// ReadApp reads the rows of one droplet: what the Cloud Controller has changed when it publishes droplet.updated.
// None means that the app is not desired: deleted, stopped, failed to stage, or not the DEAs'. A row that cannot be
// understood is an error. Every error is an *Error.
func (s *Source) ReadApp(ctx context.Context, droplet app.GUID) ([]desired.App, error) {
	var apps []desired.App
	err := s.run(ctx, min(s.options.Timeout, appTimeout), func(ctx context.Context, snap *snapshot) (err *Error) {
		if err := snap.checkApp(); err != nil {
			return err
		}
		apps, err = s.newReading(snap).app(ctx, droplet)
		return err
	})
	if err != nil {
		return nil, s.failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.AppReads++
	return apps, nil
}

// run calls read with a snapshot of a server, and with one of the next if that fails, until one succeeds. What read
// returned counts only if run returns nil.
func (s *Source) run(ctx context.Context, timeout time.Duration, read func(context.Context, *snapshot) *Error) *Error {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return &Error{Kind: Canceled, From: s.targets[0].name, Err: fmt.Errorf("wait for the read before this one: %w", ctx.Err())}
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var failed *Error
	for left := len(s.targets); left > 0; left-- {
		err := s.try(limited, left, read)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			err.Kind, err.Hint = Canceled, ""
		}
		if failed == nil {
			failed = err
		} else {
			failed.Others = append(failed.Others, err)
		}
		if !err.elsewhere() {
			break
		}
		if len(s.targets) > 1 { // a later read begins with the server after the one that failed last
			s.disconnect()
			s.current = (s.current + 1) % len(s.targets)
		}
	}
	return failed
}

// try reads from the current target. While there are others left to try, it may use only half of the time.
func (s *Source) try(ctx context.Context, left int, read func(context.Context, *snapshot) *Error) *Error {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	t := s.targets[s.current]
	fail := func(err error) *Error {
		s.disconnect() // also so that the next read looks at the tables anew
		e := t.dialect.classify(ctx, err)
		e.From = t.name
		return e
	}
	snap, err := s.begin(ctx, t)
	if err != nil {
		return fail(err)
	}
	if err := s.accepted.check(snap); err != nil {
		s.mu.Lock()
		s.stats.Stale++
		s.mu.Unlock()
		return fail(err)
	}
	if e := read(ctx, snap); e != nil {
		s.disconnect()
		e.From = t.name
		return e
	}
	if err := snap.verify(ctx); err != nil {
		return fail(err)
	}
	if err := s.conn.rollback(ctx); err != nil {
		s.disconnect() // everything was read; only the connection is of no more use
	}
	s.accept(t, snap)
	return nil
}

// A connection is kept from read to read, but not for ever, so that a host name that has moved on is followed.
const maxConnAge = 10 * time.Minute

// begin opens a snapshot on a target. A kept connection that has died in the meantime is replaced.
func (s *Source) begin(ctx context.Context, t target) (*snapshot, error) {
	if s.conn != nil && time.Since(s.opened) < maxConnAge {
		short, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
		snap, err := openSnapshot(short, t, s.conn, s.options.Schema, remaining(ctx))
		cancel()
		if err == nil {
			return snap, nil
		}
	}
	s.disconnect()
	short, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	c, err := t.connect(short)
	cancel()
	if err != nil {
		return nil, err
	}
	s.conn, s.opened = c, time.Now()
	return openSnapshot(ctx, t, c, s.options.Schema, remaining(ctx))
}

func (s *Source) disconnect() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

// connectTimeout leaves most of the time to the read itself.
func connectTimeout(ctx context.Context) time.Duration { return min(remaining(ctx)/2, 5*time.Second) }

// remaining is how much time a context leaves; it always has a deadline here.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return DefaultTimeout
	}
	return max(time.Until(deadline), time.Millisecond)
}
