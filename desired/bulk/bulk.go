// Package bulk reads the desired state from the Cloud Controller's bulk API: GET /bulk/apps, page by page (D01 to D15).
// A read is complete or it fails: if any page fails, or the pages contradict each other, the whole read is refused
// (I6). The error says what to do about it. Beside that it asks for the number of users, which collectors want (N44).
package bulk

import (
	"bytes"
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

// Defaults of Options, and limits of one read.
const (
	DefaultBatchSize = 500
	DefaultTimeout   = 10 * time.Second

	// MaxApps is the most apps in one read.
	MaxApps = 5_000_000
	// maxPageBytes is large because a Cloud Controller of 2017 puts all apps into the first page, whatever the batch size
	// (D04). A page is decoded while it arrives, so its size takes no memory.
	maxPageBytes = 2 << 30
	maxReadBytes = 4 << 30
	maxPages     = 200_000
)

// Options configure a Source.
type Options struct {
	URL       string        // base URL of the Cloud Controller; http or https, without user or query
	Username  string        // for basic authentication
	Password  string        // never logged
	BatchSize int           // apps requested in a page; 0: DefaultBatchSize
	Timeout   time.Duration // of one page, from the connection to the last byte; 0: DefaultTimeout
	// Credentials returns user and password if Username is empty. Its result is used until the server answers 401. Nil: no
	// authentication.
	Credentials func(context.Context) (user, password string, err error)
	Logger      *slog.Logger // nil: slog.Default
}

// Source reads the desired state from one Cloud Controller. Its methods may be called concurrently; reads run one after
// the other.
type Source struct {
	options Options
	base    *url.URL // with path .../bulk/apps
	client  *http.Client
	log     *slog.Logger
	limits  limits
	reading chan struct{} // has a value while a read runs, and for ever after Close
	closing sync.Once

	mu             sync.Mutex
	user, password string // from Options.Credentials, until a 401
	cached         bool
	stats          Stats

	digestKey digestKey
	last      kept // of the last complete read; whoever has a value in reading may use it
}

// limits are the limits of one read; tests lower them.
type limits struct {
	apps, pages          int
	pageBytes, readBytes int64
}

// New makes a Source. It does not connect.
func New(o Options) (*Source, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("bulk API: the URL cannot be parsed") // a quoted URL might show a password
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return nil, fmt.Errorf("bulk API: %.100q must be an http:// or https:// URL with a host, without user, query and fragment",
			u.Redacted())
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
		reading: make(chan struct{}, 1), digestKey: newDigestKey(),
		stats: Stats{FailuresBy: map[Kind]uint64{}},
	}, nil
}

// Name returns what is read, for people to see: "bulk http://...". It has no secrets.
func (s *Source) Name() string { return "bulk " + s.options.URL }

// Close waits until a running read ends and closes the connections. Cancel the read's context to end it sooner. A read
// after Close waits until its context ends.
func (s *Source) Close() {
	s.closing.Do(func() {
		s.reading <- struct{}{}
		s.client.CloseIdleConnections()
	})
}

// Read makes one complete read. Every error is an *Error. A failed read returns and changes nothing.
func (s *Source) Read(ctx context.Context) (desired.Read, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		err := fmt.Errorf("wait for the previous read: %w", ctx.Err())
		return desired.Read{}, s.failed(&Error{Kind: Canceled, URL: s.options.URL, Err: err})
	}
	began := time.Now()
	r := s.newRead()
	read, left, err := r.run(ctx)
	if err != nil {
		err.URL = s.options.URL
		return desired.Read{}, s.failed(err)
	}
	s.last = left
	s.succeeded(r, read, time.Since(began))
	return read, nil
}

// reading is the state of one read.
type reading struct {
	*Source
	scanner    *scanner
	apps       []desired.App // that were decoded; nil once they are sorted
	appPage    []uint32      // and the page of each, from 0
	decoded    int           // how many were, once they are sorted
	rows       int           // also of pages that were not decoded again
	bytes      int64
	unreadable []app.GUID
	unread     int   // unreadable rows
	firstBad   error // why the first one is unreadable
	renewed    bool  // new credentials were requested

	text   bytes.Buffer // the body of a page
	digest digest       // of it
	pages  []keptPage   // so far
	same   []bool       // of each page of the last read, whether this one has it; nil: none
	sames  int          // how many of them it has
	keeps  bool         // pages has all pages so far
}

func (s *Source) newRead() *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &reading{Source: s, scanner: newScanner(nil), keeps: true}
}

// run reads all pages. left is for the next read.
func (r *reading) run(ctx context.Context) (read desired.Read, left kept, failure *Error) {
	pages := newPaging()
	for n := 1; ; n++ {
		if n > r.limits.pages {
			return desired.Read{}, kept{}, &Error{Kind: TooLarge, Page: n, Err: fmt.Errorf("more than %d pages", r.limits.pages)}
		}
		p, err := r.page(ctx, n, pages.token)
		if err != nil {
			return desired.Read{}, kept{}, err
		}
		if p.rows == 0 {
			break // only an empty page is the end (D05)
		}
		if err := pages.advance(p.token); err != nil {
			return desired.Read{}, kept{}, &Error{Kind: Paging, Page: n, Err: err,
				Hint: "check that desired.bulk.url names a Cloud Controller with the bulk API that hm knows"}
		}
	}
	if err := desired.CheckUnreadable(r.unread, r.rows, r.firstBad); err != nil {
		return desired.Read{}, kept{}, &Error{Kind: BadRows, Err: err,
			Hint: "check whether this version of hm supports the Cloud Controller"}
	}
	if r.sames > 0 && r.sames == len(r.pages) && r.sames == len(r.last.pages) {
		return desired.Read{Source: r.Name(), Apps: r.last.rows.apps(), Digest: r.last.digest}, r.last, nil // nothing has changed
	}
	apps, page := r.whole()
	read, err := desired.NewRead(r.Name(), apps)
	if err == nil {
		for _, d := range read.Unreadable {
			r.leaveOut(desired.ErrAlike, d)
		}
		read, err = read.WithUnreadable(r.unreadable)
	}
	if err != nil {
		return desired.Read{}, kept{}, &Error{Kind: Inconsistent, Err: err,
			Hint: "the recorded state stays, and the next poll reads again"}
	}
	left = r.keep(read, page)
	read.Digest = left.digest
	return read, left, nil
}

// emit takes one row of a page.
func (r *reading) emit(row row) error {
	r.rows++
	if r.rows > r.limits.apps {
		return errTooManyApps
	}
	if row.err == nil {
		r.apps, r.appPage = append(r.apps, row.app), append(r.appPage, uint32(len(r.pages)))
		return nil
	}
	r.leaveOut(row.err, row.droplets...)
	return nil
}

// leaveOut notes an unreadable row. droplets are the apps that it may belong to.
func (r *reading) leaveOut(why error, droplets ...app.GUID) {
	if r.unread++; r.unread == 1 {
		r.firstBad = fmt.Errorf("app %s: %w", droplets[0], why)
	}
	r.unreadable = append(r.unreadable, droplets...)
}

var errTooManyApps = errors.New("there are more apps than hm reads at once")

// Stats are counters since the Source was made, and values of the last complete read.
type Stats struct {
	Reads      uint64          // complete reads
	Failures   uint64          // failed reads
	FailuresBy map[Kind]uint64 // failed reads by cause
	Pages      uint64          // valid pages, also of reads that failed later
	Rows       uint64          // rows of complete reads
	Unreadable uint64          // unreadable rows of complete reads
	Bytes      uint64          // bytes of all answers, decompressed

	LastApps       int           // readable rows
	LastUnreadable int           // unreadable rows
	LastDuration   time.Duration // from the first request to the last byte
}

// Stats returns a copy of the counters.
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
	if r.unread != before { // do not log the same rows with every read
		s.log.Warn("some desired rows are unreadable: the recorded rows of these apps stay",
			"rows", r.unread, "of", r.rows, "apps", read.Unreadable[:min(3, len(read.Unreadable))],
			"first", fmt.Sprint(r.firstBad))
	}
}
