// Package sqldb reads the desired state from the Cloud Controller's database: PostgreSQL, MySQL or MariaDB, or SQLite,
// with both generations of its tables (D16 to D24). It returns the same rows as the Cloud Controller's bulk API. A read
// is one snapshot of one server. It is complete or it fails: if anything fails, or the rows are inconsistent, the whole
// read is refused (I6). The error says what to do about it.
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

// Defaults of Options, and limits of one read.
const (
	DefaultBatchSize = 5000
	DefaultTimeout   = 30 * time.Second

	// MaxApps is the most rows in one read.
	MaxApps = 5_000_000
	// MaxBatchSize is the largest Options.BatchSize.
	MaxBatchSize = 100_000
	// appTimeout is the timeout of the read of a single app.
	appTimeout = 5 * time.Second
)

// Options configure a Source.
type Options struct {
	Driver string // postgres, mysql (MariaDB too) or sqlite
	// DSN has one or several data source names; docs/ccdb.md has examples. Several data source names are several servers
	// of one database, such as a primary and its replicas: if one fails, the next is read. They stand on separate lines.
	// Those of MySQL and postgres:// URLs may also be separated by spaces. A name with several hosts means several
	// servers.
	DSN       string
	Schema    string // v2, v3 or auto; empty: auto
	Filter    desired.Filter
	BatchSize int           // rows in a page; 0: DefaultBatchSize, at most MaxBatchSize
	Timeout   time.Duration // of a whole read; 0: DefaultTimeout
	Logger    *slog.Logger  // nil: slog.Default
}

// Source reads the desired state from one database. Its methods may be called concurrently. Reads run one after the
// other, so a later read never returns older data than an earlier one.
type Source struct {
	options    Options
	targets    []target
	log        *slog.Logger
	maxApps    int           // tests lower it
	appsAtOnce int           // processes in one pass; tests lower it
	scanRows   int           // rows that a scan may read for each process; tests lower it
	afterPage  func(int)     // only for tests: called in a read after page n
	reading    chan struct{} // has a value while a read runs, and for ever after Close
	closing    sync.Once

	// Only the running read uses these.
	current  int      // index of the target that is read from; it stays until it fails
	latest   []target // like targets, with their files as last read; nil: no connection was made yet
	conn     conn     // connection to the current target, or nil
	opened   time.Time
	accepted accepted // the newest complete read

	mu    sync.Mutex
	stats Stats
}

// New makes a Source. It does not connect, so the database may be down. Its errors have no secrets.
func New(o Options) (*Source, error) {
	switch o.Schema {
	case "":
		o.Schema = schemaAuto
	case schemaAuto, schemaV2, schemaV3:
	default:
		return nil, fmt.Errorf("desired state from SQL: schema %.40q is none of v2, v3, auto", o.Schema)
	}
	if o.BatchSize < 0 || o.BatchSize > MaxBatchSize || o.Timeout < 0 {
		return nil, fmt.Errorf("desired state from SQL: batch size %d is not within 0 to %d, or timeout %s is negative",
			o.BatchSize, MaxBatchSize, o.Timeout)
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
		options: o, targets: targets, log: o.Logger, maxApps: MaxApps, appsAtOnce: appsAtOnce, scanRows: scanRows, reading: make(chan struct{}, 1),
		stats: Stats{FailuresBy: map[Kind]uint64{}, From: targets[0].name},
	}, nil
}

// Name returns what is read, for people to see: "sql postgres db1:5432/ccdb". With several servers it names the one
// that was read last, or will be read first. It has no secrets.
func (s *Source) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "sql " + s.options.Driver + " " + s.stats.From
	if len(s.targets) > 1 {
		name += fmt.Sprintf(" (one of %d)", len(s.targets))
	}
	return desired.Filtered(name, s.options.Filter)
}

// Close waits until a running read ends and closes the connection. Cancel the read's context to end it sooner. A read
// after Close waits until its context ends.
func (s *Source) Close() {
	s.closing.Do(func() {
		s.reading <- struct{}{}
		s.disconnect()
	})
}

// Read makes one complete read. Every error is an *Error. A failed read returns nothing.
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

// ReadApp reads the rows of one droplet. The Cloud Controller publishes droplet.updated when it has changed them. No
// rows mean that the app is not desired: it is deleted or stopped, its staging failed, or it does not run on DEAs. An
// unreadable row is an error. Every error is an *Error.
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

// run calls read with a snapshot of a server. If that fails, it calls read with a snapshot of the next server. The data
// of read is valid only if run returns nil.
func (s *Source) run(ctx context.Context, timeout time.Duration, read func(context.Context, *snapshot) *Error) *Error {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return &Error{Kind: Canceled, From: s.targets[0].name, Err: fmt.Errorf("wait for the previous read: %w", ctx.Err())}
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
		if !err.tryNext() {
			break
		}
		if len(s.targets) > 1 { // the next read begins with the server after the one that failed last
			s.disconnect()
			s.current = (s.current + 1) % len(s.targets)
		}
	}
	return failed
}

// try reads from the current target. It may use only half of the time if there are further targets.
func (s *Source) try(ctx context.Context, left int, read func(context.Context, *snapshot) *Error) *Error {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	t := s.targets[s.current]
	fail := func(err error) *Error {
		s.disconnect() // so the next read looks at the tables again
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
	if err := snap.narrow(ctx, s.options.Filter); err != nil {
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
		s.disconnect() // the read is complete; only the connection cannot be used again
	}
	s.accept(t, snap)
	return nil
}

// maxConnAge is how long a connection is reused. Then hm resolves the host name again, which may have a new address.
const maxConnAge = 10 * time.Minute

// begin opens a snapshot on a target. It replaces a connection that was lost since the last read.
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
	c, err := s.renewed(t).connect(short)
	cancel()
	if err != nil {
		return nil, err
	}
	s.conn, s.opened = c, time.Now()
	return openSnapshot(ctx, t, c, s.options.Schema, remaining(ctx))
}

// renewed gives the current target with what the files that its DSN names have now: certificates, keys, authorities. If
// one of them cannot be used, as while it is being written, those read before count.
func (s *Source) renewed(t target) target {
	again, err := parseDSNs(s.options.Driver, s.options.DSN)
	switch {
	case err != nil:
		s.log.Warn("a file that desired.sql.dsn names cannot be used; what was read before counts", "error", err)
	case len(again) == len(s.targets) && again[s.current].name == t.name:
		s.latest = again
	}
	if s.latest != nil {
		return s.latest[s.current]
	}
	return t
}

func (s *Source) disconnect() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

// connectTimeout returns how long a connect may take. Most of the time is for the read.
func connectTimeout(ctx context.Context) time.Duration { return min(remaining(ctx)/2, 5*time.Second) }

// remaining returns the time until the deadline of a context. Every context here has one.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return DefaultTimeout
	}
	return max(time.Until(deadline), time.Millisecond)
}
