// Package bulk reads the desired state from the Cloud Controller's bulk API: GET /bulk/apps, page by page (D01 to
// D15). A read is complete or it is nothing: any failure on any page, any doubt about what the pages say, and the
// read is refused whole, with an error that says what to do about it (I6).
package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// Defaults of Options, and bounds on one read.
const (
	DefaultBatchSize = 500
	DefaultTimeout   = 10 * time.Second

	// MaxApps is the most apps that one read may have.
	MaxApps = 5_000_000
	// maxPageBytes is generous because a Cloud Controller of 2017 puts all apps into the first page, whatever the
	// batch size (D04); a page is decoded as it comes in, so its size costs no memory.
	maxPageBytes = 2 << 30
	maxReadBytes = 4 << 30
	maxPages     = 200_000

	// A few rows that cannot be understood are left as they are recorded. More of them mean that the answer is
	// something else than it should be.
	unreadableRows  = 10
	unreadableShare = 100 // or one row in this many
)

// Options configure a Source.
type Options struct {
	URL       string        // base URL of the Cloud Controller; http or https, without user or query
	Username  string        // of basic authentication
	Password  string        // never logged
	BatchSize int           // apps asked for in a page; 0: DefaultBatchSize
	Timeout   time.Duration // of one page, from the connection to the last byte; 0: DefaultTimeout
	// Credentials is asked for user and password when Username is empty; what it returns is used until the server
	// refuses it with a 401. Nil: no authentication.
	Credentials func(context.Context) (user, password string, err error)
	Logger      *slog.Logger // nil: slog.Default
}

// Source reads the desired state from one Cloud Controller. Its methods may be called concurrently; reads happen
// one after the other.
type Source struct {
	options Options
	base    *url.URL // with path .../bulk/apps
	client  *http.Client
	log     *slog.Logger
	limits  limits
	reading chan struct{} // holds a value while a read is under way, and for good once closed
	closing sync.Once

	mu             sync.Mutex
	user, password string // from Options.Credentials, until a 401
	cached         bool
	stats          Stats
}

// limits are the bounds on one read; tests lower them.
type limits struct {
	apps, pages          int
	pageBytes, readBytes int64
}

// New makes a Source. It connects to nothing.
func New(o Options) (*Source, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("bulk API: the URL cannot be parsed") // to quote it might show a password
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("bulk API: %.100q must be an http:// or https:// URL with a host, without user, query and fragment", u.Redacted())
	}
	if o.BatchSize < 0 || o.Timeout < 0 {
		return nil, fmt.Errorf("bulk API: batch size %d or timeout %s is negative", o.BatchSize, o.Timeout)
	}
	if o.Username != "" {
		if err := checkCredentials(o.Username, o.Password); err != nil {
			return nil, err
		}
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
		options: o,
		base:    u.JoinPath("bulk", "apps"),
		client:  newClient(o.Timeout),
		log:     o.Logger,
		limits:  limits{apps: MaxApps, pages: maxPages, pageBytes: maxPageBytes, readBytes: maxReadBytes},
		reading: make(chan struct{}, 1),
		stats:   Stats{FailuresBy: map[Kind]uint64{}},
	}, nil
}

// Name says what is read, for people: "bulk http://...". It has no secrets.
func (s *Source) Name() string { return "bulk " + s.options.URL }

// Close waits for a read under way to end, which its context hastens, and closes the connections. A read after
// that waits for its context.
func (s *Source) Close() {
	s.closing.Do(func() {
		s.reading <- struct{}{}
		s.client.CloseIdleConnections()
	})
}

// Read makes one complete read. Every error is an *Error; after one, nothing of the read is kept.
func (s *Source) Read(ctx context.Context) (desired.Read, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return desired.Read{}, s.failed(&Error{Kind: Canceled, URL: s.options.URL, Err: fmt.Errorf("wait for the read before this one: %w", ctx.Err())})
	}
	began := time.Now()
	r := s.newRead()
	read, err := r.run(ctx)
	if err != nil {
		err.URL = s.options.URL
		return desired.Read{}, s.failed(err)
	}
	s.succeeded(r, read, time.Since(began))
	return read, nil
}

// reading is the state of one read.
type reading struct {
	*Source
	scanner    *scanner
	apps       []desired.App
	rows       int
	bytes      int64
	unreadable []app.GUID
	unread     int   // rows that could not be understood
	firstBad   error // of the first of them
	renewed    bool  // fresh credentials were asked for
}

func (s *Source) newRead() *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &reading{Source: s, scanner: newScanner(nil), apps: make([]desired.App, 0, s.stats.LastApps+s.stats.LastApps/16)}
}

func (r *reading) run(ctx context.Context) (desired.Read, *Error) {
	pages := newPaging()
	for n := 1; ; n++ {
		if n > r.limits.pages {
			return desired.Read{}, &Error{Kind: TooLarge, Page: n, Err: fmt.Errorf("more than %d pages", r.limits.pages)}
		}
		p, err := r.page(ctx, n, pages.token)
		if err != nil {
			return desired.Read{}, err
		}
		if p.rows == 0 {
			break // the only mark of the end (D05)
		}
		if err := pages.advance(p.token); err != nil {
			return desired.Read{}, &Error{Kind: Paging, Page: n, Err: err, Hint: "the Cloud Controller's bulk API is not one that hm knows"}
		}
	}
	if r.unread > max(unreadableRows, r.rows/unreadableShare) {
		return desired.Read{}, &Error{Kind: BadRows, Err: fmt.Errorf("%d of %d rows cannot be understood, the first because %w", r.unread, r.rows, r.firstBad),
			Hint: "the Cloud Controller's rows have another form than hm knows; nothing is changed until they can be read"}
	}
	read, err := desired.NewRead(r.Name(), r.apps)
	if err == nil {
		for _, d := range read.Unreadable {
			r.leaveOut(desired.ErrAlike, d)
		}
		read, err = read.WithUnreadable(r.unreadable)
	}
	if err != nil {
		return desired.Read{}, &Error{Kind: Inconsistent, Err: err, Hint: "the next read will see one picture again"}
	}
	return read, nil
}

// emit takes one row of a page.
func (r *reading) emit(row row) error {
	r.rows++
	if r.rows > r.limits.apps {
		return errTooManyApps
	}
	if row.err == nil {
		r.apps = append(r.apps, row.app)
		return nil
	}
	r.leaveOut(row.err, row.droplets...)
	return nil
}

// leaveOut notes the apps of which the read says nothing, as the droplets of one row.
func (r *reading) leaveOut(why error, droplets ...app.GUID) {
	if r.unread++; r.unread == 1 {
		r.firstBad = fmt.Errorf("of app %s: %w", droplets[0], why)
	}
	r.unreadable = append(r.unreadable, droplets...)
}

var errTooManyApps = errors.New("more apps than hm reads at once")

// Stats are counts since the Source was made, and facts of the last complete read.
type Stats struct {
	Reads      uint64          // complete ones
	Failures   uint64          // reads that failed
	FailuresBy map[Kind]uint64 // the same by cause
	Pages      uint64          // answers that were understood, also those of reads that failed later
	Rows       uint64          // of complete reads
	Unreadable uint64          // rows of complete reads that could not be understood
	Bytes      uint64          // of answers, decompressed

	LastApps       int           // readable rows
	LastUnreadable int           // rows that could not be understood
	LastDuration   time.Duration // from the first request to the last byte
}

// Stats gives a copy of the counts.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.FailuresBy = make(map[Kind]uint64, len(s.stats.FailuresBy))
	for k, n := range s.stats.FailuresBy {
		st.FailuresBy[k] = n
	}
	return st
}

func (s *Source) failed(err *Error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Failures++
	s.stats.FailuresBy[err.Kind]++
	return err
}

func (s *Source) succeeded(r *reading, read desired.Read, took time.Duration) {
	s.mu.Lock()
	before := s.stats.LastUnreadable
	s.stats.Reads++
	s.stats.Rows += uint64(r.rows)
	s.stats.Unreadable += uint64(r.unread)
	s.stats.LastApps, s.stats.LastUnreadable, s.stats.LastDuration = len(read.Apps), r.unread, took
	s.mu.Unlock()
	if r.unread != before { // a row that stays bad is told once, not with every read
		s.log.Warn("desired rows that cannot be understood: what is recorded of these apps stays",
			"rows", r.unread, "of", r.rows, "apps", read.Unreadable[:min(3, len(read.Unreadable))], "first", fmt.Sprint(r.firstBad))
	}
}
