package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hm/internal/tlsfiles"
)

// ClientOptions say which node to ask and how.
type ClientOptions struct {
	Addr               string // base URL: http://host:port or https://host:port
	Username, Password string // empty: none
	Token              string // bearer token, which counts more; empty: none
	CA                 string // PEM file of authorities to trust instead of the system's
	Cert, Key          string // PEM files of the client's own certificate, both or none
	Timeout            time.Duration
}

// Client asks one node's API. It is safe for concurrent use.
type Client struct {
	base           *url.URL
	user, password string
	token          string
	http           *http.Client
}

// Limits of the client.
const (
	defaultTimeout = 30 * time.Second
	maxAnswer      = 64 << 20 // of one answer, which is at most a page
)

// NewClient checks the options. It sends nothing yet.
func NewClient(o ClientOptions) (*Client, error) {
	base, err := url.Parse(o.Addr)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("the API address %q is not a URL like http://127.0.0.1:5155", o.Addr)
	}
	if base.User != nil {
		return nil, errors.New("the API address must not hold a user name or password: messages would show them")
	}
	if strings.Trim(base.Path, "/") != "" || base.RawQuery != "" {
		return nil, fmt.Errorf("the API address %q must end after the port", o.Addr)
	}
	base.Path = ""
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, err = tlsfiles.Client(tlsfiles.File{Key: "--ca (or HM_CA)", Path: o.CA},
		tlsfiles.File{Key: "--cert (or HM_CERT)", Path: o.Cert}, tlsfiles.File{Key: "--key (or HM_KEY)", Path: o.Key})
	if err != nil {
		return nil, err
	}
	if len(o.Token) > maxClientToken || strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the bearer token has spaces, or other characters that no token has, or is too long")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Client{base: base, user: o.Username, password: o.Password, token: o.Token, http: &http.Client{Transport: transport, Timeout: o.Timeout}}, nil
}

// maxClientToken is the longest bearer token of a client, in bytes.
const maxClientToken = 16 << 10

// authenticate shows the client's credentials.
func (c *Client) authenticate(r *http.Request) {
	switch {
	case c.token != "":
		r.Header.Set("Authorization", "Bearer "+c.token)
	case c.user != "" || c.password != "":
		r.SetBasicAuth(c.user, c.password)
	}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Unreachable is the error if no answer came from a node.
type Unreachable struct {
	Addr string
	Err  error
}

// Error gives the address and the cause.
func (u *Unreachable) Error() string {
	cause := u.Err
	var asked *url.Error
	if errors.As(cause, &asked) {
		cause = asked.Err
	}
	return fmt.Sprintf("no answer from %s: %v", u.Addr, cause)
}

// Unwrap gives the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// answer is an answer that is not a problem document.
type answer struct {
	header http.Header
	body   []byte
}

// do sends a request. A problem document becomes the error *Problem; if no answer comes, the error is *Unreachable.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (answer, error) {
	u := *c.base
	u.RawPath, u.RawQuery = path, query.Encode()
	var err error
	if u.Path, err = url.PathUnescape(path); err != nil {
		return answer{}, fmt.Errorf("asking for %q: %w", path, err)
	}
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, fmt.Errorf("encoding the request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return answer{}, fmt.Errorf("asking %s: %w", c.base, err)
	}
	req.Header.Set("Accept", "application/json, "+problemType)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.authenticate(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, &Unreachable{Addr: c.base.String(), Err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &Unreachable{Addr: c.base.String(), Err: err}
	}
	if len(raw) > maxAnswer {
		return answer{}, fmt.Errorf("the answer of %s is larger than %d bytes", c.base, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return answer{}, problemOf(resp, raw)
	}
	return answer{header: resp.Header, body: raw}, nil
}

func problemOf(resp *http.Response, raw []byte) error {
	p := &Problem{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), problemType) && json.Unmarshal(raw, p) == nil && p.Status != 0 {
		return p
	}
	return &Problem{
		Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode),
		Detail: fmt.Sprintf("the answer of %s://%s is %s, which hm would not give in this form", resp.Request.URL.Scheme, resp.Request.URL.Host, resp.Status), Hint: "is this the address of an hm node?",
	}
}

// get asks for an object. raw is the answer as it was received.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (v T, raw []byte, err error) {
	a, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return v, nil, err
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		return v, nil, fmt.Errorf("the answer of %s to %s cannot be read: %w", c.base, path, err)
	}
	return v, a.body, nil
}

// Listing is a list, or its first items if not all were asked for.
type Listing[T any] struct {
	Items []T
	Basis Basis
	Gate  []string // of drift: the reasons of the closed gate; empty if it is open
	Total int      // items in the whole list; -1 if that is not known
	More  bool     // the whole list has more than Items
}

// list asks for at most limit items (0: all), page by page.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) (Listing[T], error) {
	p := newPages[T](c, path, query, limit)
	out := Listing[T]{Items: []T{}, Total: -1}
	for first := true; p.More() || first; first = false {
		items, err := p.Next(ctx)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, items...)
	}
	out.Basis, out.Gate, out.Total, out.More = p.Basis, p.Gate, p.Total, p.cursor != ""
	return out, nil
}

// Status asks for the status. raw is the answer as it was received.
func (c *Client) Status(ctx context.Context) (s Status, raw []byte, err error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Series asks how the counts of the fleet have changed: since a time in RFC 3339 or for a duration like 1h (empty: all
// that the node keeps, up to six hours), with at most points samples (0: all).
func (c *Client) Series(ctx context.Context, since string, points int) (v Series, raw []byte, err error) {
	q := nonEmpty("since", since)
	if points > 0 {
		q.Set("points", strconv.Itoa(min(points, maxSeriesPoints)))
	}
	return get[Series](ctx, c, "/v1/series", q)
}

// Drift lists drift, most urgent first: of one app if app is not empty, of one kind if kind is not; at most limit
// items, or all with 0.
func (c *Client) Drift(ctx context.Context, app, kind string, limit int) (Listing[DriftItem], error) {
	return list[DriftItem](ctx, c, "/v1/drift", nonEmpty("app", app, "kind", kind), limit)
}

// Apps lists apps by guid and version.
func (c *Client) Apps(ctx context.Context, limit int) (Listing[AppItem], error) {
	return list[AppItem](ctx, c, "/v1/apps", nil, limit)
}

// App asks for everything that is recorded of an app; index is empty or one index.
func (c *Client) App(ctx context.Context, guid, index string) (a App, raw []byte, err error) {
	return get[App](ctx, c, "/v1/apps/"+segment(guid), nonEmpty("index", index))
}

// Explain asks what is done about an app and why, or why nothing is; index is empty or one index.
func (c *Client) Explain(ctx context.Context, guid, index string) (e Explanation, raw []byte, err error) {
	return get[Explanation](ctx, c, "/v1/apps/"+segment(guid)+"/explain", nonEmpty("index", index))
}

// DEAs lists DEAs by id.
func (c *Client) DEAs(ctx context.Context, limit int) (Listing[DEA], error) {
	return list[DEA](ctx, c, "/v1/deas", nil, limit)
}

// DEA asks for one DEA with its instances.
func (c *Client) DEA(ctx context.Context, id string) (d DEA, raw []byte, err error) {
	return get[DEA](ctx, c, "/v1/deas/"+segment(id), nil)
}

// Commands lists outstanding commands, of one app if app is not empty.
func (c *Client) Commands(ctx context.Context, app string, limit int) (Listing[Command], error) {
	return list[Command](ctx, c, "/v1/commands", nonEmpty("app", app), limit)
}

// History lists the newest commands that ended, newest first, at most 10,000.
func (c *Client) History(ctx context.Context, app string, newest int) (Listing[Command], error) {
	query := nonEmpty("app", app)
	query.Set("outstanding", "false")
	query.Set("history", strconv.Itoa(min(newest, maxPage)))
	return list[Command](ctx, c, "/v1/commands", query, 0)
}

// Compare asks how what hm decided agrees with what another health manager published: since a time in RFC 3339 or for a
// duration like 24h; of one class if class is not empty; at most limit items, the newest.
func (c *Client) Compare(ctx context.Context, since, class string, limit int) (v Comparison, raw []byte, err error) {
	q := nonEmpty("since", since, "class", class)
	q.Set("limit", strconv.Itoa(min(max(limit, 1), maxPage)))
	return get[Comparison](ctx, c, "/v1/commands/compare", q)
}

// Cancel drops a command that has not been claimed.
func (c *Client) Cancel(ctx context.Context, id string) (cmd Command, raw []byte, err error) {
	a, err := c.do(ctx, http.MethodDelete, "/v1/commands/"+segment(id), nil, nil)
	if err != nil {
		return cmd, nil, err
	}
	if err := json.Unmarshal(a.body, &cmd); err != nil {
		return cmd, nil, fmt.Errorf("the answer of %s cannot be read: %w", c.base, err)
	}
	return cmd, a.body, nil
}

// SetHold sets a hold. It replaces a hold of the same name.
func (c *Client) SetHold(ctx context.Context, r HoldRequest) (h Hold, raw []byte, err error) {
	a, err := c.do(ctx, http.MethodPost, "/v1/holds", nil, r)
	if err != nil {
		return h, nil, err
	}
	if err := json.Unmarshal(a.body, &h); err != nil {
		return h, nil, fmt.Errorf("the answer of %s cannot be read: %w", c.base, err)
	}
	return h, a.body, nil
}

// Cluster asks for the members.
func (c *Client) Cluster(ctx context.Context) (s ClusterStatus, raw []byte, err error) {
	a, err := c.do(ctx, http.MethodGet, "/v1/cluster", nil, nil)
	if err != nil {
		return s, nil, err
	}
	if err := json.Unmarshal(a.body, &s); err != nil {
		return s, nil, fmt.Errorf("the answer of %s cannot be read: %w", c.base, err)
	}
	return s, a.body, nil
}

// ChangeMembers makes a change of the members: add, remove or transfer.
func (c *Client) ChangeMembers(ctx context.Context, change string, r MemberRequest) (done MemberChange, raw []byte, err error) {
	a, err := c.do(ctx, http.MethodPost, "/v1/cluster/"+change, nil, r)
	if err != nil {
		return done, nil, err
	}
	if err := json.Unmarshal(a.body, &done); err != nil {
		return done, nil, fmt.Errorf("the answer of %s cannot be read: %w", c.base, err)
	}
	return done, a.body, nil
}

// ReleaseHold releases a hold. The error is a *Problem with status 404 if no hold has that name.
func (c *Client) ReleaseHold(ctx context.Context, name string) error {
	return c.ReleaseHoldBy(ctx, name, "")
}

// ReleaseHoldBy is ReleaseHold in the name of a person; empty: of the user that authenticates, or of this address.
func (c *Client) ReleaseHoldBy(ctx context.Context, name, by string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v1/holds/"+segment(name), nonEmpty("by", by), nil)
	return err
}

func nonEmpty(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
