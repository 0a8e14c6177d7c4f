package bulk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
	maxQuoted      = 160 // bytes of an unexpected answer in an error
)

// newClient makes a client with its own connections. Each phase has its own timeout, so that a dead address does not
// use up the time of a whole page.
func newClient(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: min(timeout/2, 5*time.Second), KeepAlive: 15 * time.Second}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    min(timeout/2, 5*time.Second),
			ResponseHeaderTimeout:  timeout,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    1,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
	}
}

// redirectError is a redirect that hm does not follow.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "redirected to " + e.to }

// checkRedirect allows a redirect only to the same host and port, or to the same host over TLS: the credentials were
// sent there anyway. net/http alone would also send them to subdomains and other ports, and from https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	sameHost := strings.EqualFold(first.Hostname(), req.URL.Hostname())
	upgrade := sameHost && first.Scheme == "http" && req.URL.Scheme == "https"
	same := sameHost && first.Scheme == req.URL.Scheme && port(first) == port(req.URL)
	if !upgrade && !same {
		return &redirectError{req.URL.Scheme + "://" + req.URL.Host}
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

func port(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// page fetches and decodes one page. If the server answers 401 to credentials from an earlier request for them, page
// drops them and tries again with new ones, once a read.
func (r *reading) page(ctx context.Context, n int, token string) (page, *Error) {
	for {
		user, password, fresh, err := r.credentials(ctx)
		if err != nil {
			err.Page = n
			return page{}, err
		}
		p, err := r.fetch(ctx, token, user, password)
		if err == nil {
			return p, nil
		}
		err.Page = n
		if err.Kind != Unauthorized || r.options.Username != "" || r.options.Credentials == nil {
			return page{}, err
		}
		r.dropCredentials(user, password)
		if fresh || r.renewed {
			return page{}, err
		}
		r.renewed = true
	}
}

// credentials returns user and password. fresh is true if they were requested just now.
func (s *Source) credentials(ctx context.Context) (user, password string, fresh bool, failure *Error) {
	if s.options.Username != "" || s.options.Credentials == nil {
		return s.options.Username, s.options.Password, false, nil
	}
	s.mu.Lock()
	user, password, cached := s.user, s.password, s.cached
	s.mu.Unlock()
	if cached {
		return user, password, false, nil
	}
	asking, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	user, password, err := s.options.Credentials(asking)
	if err == nil {
		err = checkCredentials(user, password)
	}
	if err != nil {
		if ctx.Err() != nil {
			return "", "", false, &Error{Kind: Canceled, Err: fmt.Errorf("canceled while asking for credentials: %w", ctx.Err())}
		}
		return "", "", false, &Error{Kind: Credentials, Err: fmt.Errorf("ask for credentials: %w", err),
			Hint: "check that a Cloud Controller answers on NATS for desired.partition, " +
				"or set desired.bulk.username and desired.bulk.password"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password, s.cached = user, password, true
	return user, password, true, nil
}

func (s *Source) dropCredentials(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == user && s.password == password {
		s.user, s.password, s.cached = "", "", false
	}
}

// fetch makes one request and decodes its answer.
func (r *reading) fetch(ctx context.Context, token, user, password string) (page, *Error) {
	var phase phases
	timed, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	u := *r.base
	u.RawQuery = url.Values{"batch_size": {strconv.Itoa(r.options.BatchSize)}, "bulk_token": {token}}.Encode()
	resp, failure := r.get(ctx, timed, &u, user, password, &phase)
	if failure != nil {
		return page{}, failure
	}
	defer resp.Body.Close()
	body := &limitedBody{r: resp.Body, left: r.limits.pageBytes, limit: r.limits.pageBytes}
	if left := r.limits.readBytes - r.bytes; left < body.left {
		body.left, body.limit = left, r.limits.readBytes
	}
	before := body.left
	p, err := r.decode(body)
	r.bytes += before - body.left
	r.count(before-body.left, err == nil)
	if err != nil {
		return page{}, classify(ctx, timed, err, phase.String())
	}
	return p, nil
}

// decode decodes a page, unless it is as it was in the last read.
func (r *reading) decode(body io.Reader) (page, error) {
	text, same := r.begin(body)
	if same != nil {
		if r.rows += same.rows; r.rows > r.limits.apps {
			return page{}, errTooManyApps
		}
		if r.same == nil {
			r.same = make([]bool, len(r.last.pages))
		}
		r.same[len(r.pages)] = true
		r.sames++
		r.pages = append(r.pages, *same)
		return page{rows: same.rows, token: []byte(same.token)}, nil
	}
	r.scanner.reset(text)
	p, err := readPage(r.scanner, r.emit)
	if err == nil && p.rows > 0 {
		r.pages = append(r.pages, keptPage{r.digest, p.rows, string(p.token)})
	}
	return p, err
}

// get makes one request that must be answered with 200. The caller closes the body. timed is ctx with the timeout of the
// request.
func (s *Source) get(ctx, timed context.Context, u *url.URL, user, password string, phase *phases) (*http.Response, *Error) {
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(timed, phase.trace()), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{Kind: Transport, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "hm")
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var about *url.Error
		if errors.As(err, &about) {
			err = about.Err // without the URL and its token
		}
		return nil, classify(ctx, timed, err, phase.String())
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, statusError(ctx, timed, resp, phase)
	}
	return resp, nil
}

// count counts the bytes of an answer, and a page if the answer is valid.
func (s *Source) count(bytes int64, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Bytes += uint64(bytes)
	if valid {
		s.stats.Pages++
	}
}

// statusError makes an Error for an answer with another status than 200.
func statusError(ctx, page context.Context, resp *http.Response, phase *phases) *Error {
	start, err := io.ReadAll(io.LimitReader(resp.Body, maxQuoted+1))
	if err != nil && (ctx.Err() != nil || page.Err() != nil) {
		return classify(ctx, page, err, phase.String())
	}
	what := fmt.Errorf("status %s: %s", resp.Status, quote(start))
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		return &Error{Kind: Unauthorized, Err: fmt.Errorf("unauthorized: %w", what),
			Hint: "check desired.bulk.username and desired.bulk.password; if hm asks for them over NATS, check desired.partition"}
	case code == http.StatusNotFound:
		return &Error{Kind: Status, Err: what, Hint: "check that desired.bulk.url names a Cloud Controller with a bulk API"}
	case code >= 500:
		return &Error{Kind: Status, Err: what,
			Hint: "the Cloud Controller, or a proxy in front of it, failed; hm reads again at the next poll"}
	}
	return &Error{Kind: Status, Err: what}
}

// quote returns the start of an answer, on one line.
func quote(start []byte) string {
	if len(start) == 0 {
		return "empty body"
	}
	more := ""
	if len(start) > maxQuoted {
		start, more = start[:maxQuoted], "..."
	}
	return strconv.QuoteToASCII(strings.Join(strings.Fields(string(start)), " ")) + more
}

// sizeError is an answer that is larger than a limit.
type sizeError struct{ limit int64 }

func (e *sizeError) Error() string { return fmt.Sprintf("the answer has more than %d bytes", e.limit) }

// limitedBody is like io.LimitedReader, but exceeding the limit is an error and not the end.
type limitedBody struct {
	r           io.Reader
	left, limit int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	if int64(n) > b.left {
		n, b.left = int(b.left), 0
		return n, &sizeError{b.limit}
	}
	b.left -= int64(n)
	return n, err
}

// phases remembers what a request is doing. The hooks of a trace may run on other goroutines.
type phases struct{ now atomic.Int32 }

var phaseWords = [...]string{
	"connecting", "looking up the host", "connecting", "making the TLS handshake", "waiting for the answer",
	"reading the answer",
}

func (p *phases) String() string { return phaseWords[p.now.Load()] }

func (p *phases) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { p.now.Store(1) },
		ConnectStart:         func(_, _ string) { p.now.Store(2) },
		TLSHandshakeStart:    func() { p.now.Store(3) },
		GotConn:              func(httptrace.GotConnInfo) { p.now.Store(4) },
		GotFirstResponseByte: func() { p.now.Store(5) },
	}
}
