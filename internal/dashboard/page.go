package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hm/internal/api"
)

// content is what a page shows.
type content struct {
	Title string // of the page, without the name of the program
	Data  any    // for the template of the page
	// Follow are the kinds of event after which the page is out of date at once. Empty: it is only renewed now and then.
	Follow []string
	// App and DEA narrow Follow to the events of one of them; empty: all.
	App, DEA string
	// After is the id of the newest event that the page has.
	After string
	// Every is how often the script renews the page; 0: every two seconds. A page that is expensive gives more.
	Every time.Duration
}

// asked is a request for a page.
type asked struct {
	*http.Request
	api    *api.Client // asks in the name of the one who asks for the page
	status api.Status  // what the banner shows
}

// show makes the content of a page. Its error becomes a page in words.
type show func(a *asked) (content, error)

// rendered is a page without what differs from browser to browser. All browsers share it.
type rendered struct {
	status   int // of HTTP
	title    string
	closed   bool          // the gate is not open
	live     template.HTML // the banner, the content and the basis: what the script renews
	follow   []string
	after    string
	app, dea string
	every    time.Duration
	node     string
	began    time.Time // when the page began to be made; zero for one that is not kept
}

// renderTimeout bounds the work for one page.
const renderTimeout = 20 * time.Second

// page serves a page. name is that of its template, and of its place in the navigation.
func (d *Dashboard) page(pattern, name string, fn show) {
	t := d.parse(name)
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), renderTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		out, err := d.cache.get(ctx, r.URL.RequestURI(), func() *rendered { return d.render(r, t, name, fn) })
		if err != nil {
			http.Error(w, "this node has too many pages to make: try again, or ask another node", http.StatusServiceUnavailable)
			return
		}
		d.send(w, r, name, out)
	})
}

// render makes a page, or the page that says why it could not be made.
func (d *Dashboard) render(r *http.Request, t *template.Template, name string, fn show) *rendered {
	a := &asked{Request: r, api: d.client.For(r)}
	var err error
	if a.status, _, err = a.api.Status(r.Context()); err != nil {
		return d.renderFailure(a, name, err)
	}
	c, err := fn(a)
	if err != nil {
		return d.renderFailure(a, name, err)
	}
	live, err := d.renderLive(a, t, name, c)
	if err != nil {
		return d.renderFailure(a, name, fmt.Errorf("the template of this page failed, which is a bug in hm: %w", err))
	}
	return &rendered{
		status: http.StatusOK, title: c.Title, closed: bannerOf(a.status).State != "open", live: live, follow: c.Follow, after: c.After, every: c.Every, node: a.status.Node,
		app: c.App, dea: c.DEA,
	}
}

// renderLive renders the banner, the content, and the basis.
func (d *Dashboard) renderLive(a *asked, t *template.Template, name string, c content) (template.HTML, error) {
	var out bytes.Buffer
	err := t.ExecuteTemplate(&out, "live", liveData{
		Page: name, Status: a.status, Title: c.Title, Data: c.Data, Path: a.URL.RequestURI(), secure: a.TLS != nil,
	})
	return template.HTML(out.String()), err
}

// liveData is what the template "live" gets.
type liveData struct {
	Page   string // in the navigation
	Title  string
	Status api.Status
	Data   any
	Path   string // of the page, with the query: where its forms return to

	secure bool // the page came over TLS
}

// NodeURL is the address of the pages of another node, of which the status has the address of its API. The API of every
// node has the same configuration, so the scheme is that of this node.
// It is empty for an address that is none.
func (l liveData) NodeURL(address string) string {
	scheme := "http://"
	if l.secure {
		scheme = "https://"
	}
	u, err := url.Parse(scheme + address)
	if err != nil || address == "" || u.Host != address {
		return ""
	}
	return u.String() + "/"
}

// layoutData is what the template "layout" gets.
type layoutData struct {
	Page, Title, Node string
	Closed            bool // the gate is not open
	Live              template.HTML
	Follow            []string
	After             string
	EveryMS           int64
	App, DEA          string // whose events the page follows; empty: all
	Path              string // with the query; where a form returns to
	Theme             string // light, dark, or empty for that of the system
	Told              *told
	Build             string // as the header Hm-Build
	Reader            bool   // whoever looks may change nothing
}

// defaultEvery is how often the script renews a page.
const defaultEvery = 2 * time.Second

// send answers with a page, or with the changing part of it if the script asks.
func (d *Dashboard) send(w http.ResponseWriter, r *http.Request, name string, p *rendered) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Hm-Build", d.build())
	if !p.began.IsZero() {
		h.Set(headerAge, strconv.FormatInt(time.Since(p.began).Milliseconds(), 10))
	}
	if r.Header.Get(headerPart) == partLive {
		w.WriteHeader(p.status)
		_, _ = w.Write([]byte(p.live)) // an error means that the browser is gone
		return
	}
	every := p.every
	if every <= 0 {
		every = defaultEvery
	}
	data := layoutData{
		Page: name, Title: p.title, Closed: p.closed, Node: p.node, Live: p.live, Follow: p.follow, After: p.after, EveryMS: every.Milliseconds(),
		App: p.app, DEA: p.dea,
		Path: r.URL.RequestURI(), Theme: themeOf(r), Told: takeTold(w, r), Build: d.build(), Reader: !api.MayChange(r),
	}
	var out bytes.Buffer
	if err := d.layout.ExecuteTemplate(&out, "layout", data); err != nil {
		http.Error(w, "the template of the page failed, which is a bug in hm: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(p.status)
	_, _ = out.WriteTo(w)
}

// build names the script and the stylesheet. A page that was made by another version of hm loads itself again.
func (d *Dashboard) build() string { return d.assets.path("app.js") + " " + d.assets.path("style.css") }

// The header with which the script asks for the changing part of a page.
const (
	headerPart = "Hm-Part"
	partLive   = "live"
)

// headerAge says how many milliseconds ago the page began to be made. After an event, the script asks again for a page that
// is older than the event.
const headerAge = "Hm-Age"

// failureData is what the template "failure" shows.
type failureData struct {
	Heading string
	Detail  string
	Hint    string
	Close   []string // ids that begin as the one that was asked for
	Status  int
}

// renderFailure makes the page that says in words what is wrong and what to do.
func (d *Dashboard) renderFailure(a *asked, name string, err error) *rendered {
	f := failureOf(err)
	out := &rendered{status: f.Status, title: f.Heading, closed: bannerOf(a.status).State != "open", node: a.status.Node}
	live, err := d.renderLive(a, d.failure, name, content{Title: f.Heading, Data: f})
	if err != nil {
		live = template.HTML(template.HTMLEscapeString(f.Heading + ": " + f.Detail))
	}
	out.live = live
	return out
}

// headingOf says in a few words what a problem means for the page. A problem of this package has a title of its own.
func headingOf(p *api.Problem) string {
	if p.Title != "" && p.Title != http.StatusText(p.Status) {
		return p.Title
	}
	switch slug := strings.TrimPrefix(p.Type, "urn:hm:problem:"); slug {
	case "state-differs", "store-damaged", "healing":
		return "The record of this node cannot be trusted"
	case "no-history":
		return "The history cannot be read"
	}
	switch p.Status {
	case http.StatusNotFound:
		return "There is nothing by this name"
	case http.StatusBadRequest:
		return "This cannot be shown as it was asked for"
	case http.StatusConflict:
		return "Several begin like this"
	case http.StatusTooManyRequests:
		return "This node is busy"
	}
	return "This page cannot be shown"
}

func failureOf(err error) failureData {
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return failureData{Heading: headingOf(p), Detail: p.Detail, Hint: p.Hint, Close: p.Candidates, Status: p.Status}
	case errors.Is(err, context.DeadlineExceeded):
		return failureData{
			Heading: "This page took too long", Detail: fmt.Sprintf("the node could not answer within %s", renderTimeout),
			Hint: "try again, or open the dashboard of another node", Status: http.StatusGatewayTimeout,
		}
	}
	return failureData{
		Heading: "This page cannot be shown", Detail: err.Error(), Hint: "try again; the log of the node may say more",
		Status: http.StatusInternalServerError,
	}
}

// noPage answers a request for a path that does not exist.
func (d *Dashboard) noPage(w http.ResponseWriter, r *http.Request) {
	p := d.render(r, d.failure, "", func(*asked) (content, error) {
		return content{}, &api.Problem{
			Status: http.StatusNotFound, Title: "There is no such page", Detail: fmt.Sprintf("nothing is at %.200s", r.URL.Path),
			Hint: "use the links at the top",
		}
	})
	d.send(w, r, "", p)
}
