package dashboard

import (
	"html/template"
	"net/http"

	"hm/internal/api"
)

// Options are what the dashboard needs beside the API.
type Options struct {
	// Sandbox is the simulated Cloud Foundry around the node, whose faults a page offers; nil: there is none.
	Sandbox Sandbox
}

// Dashboard is the handler of all pages, their assets and their forms. It is safe for concurrent use and has no
// goroutine of its own.
type Dashboard struct {
	client  *api.Client
	opts    Options
	mux     *http.ServeMux
	cache   *cache
	assets  assets
	layout  *template.Template
	failure *template.Template
	cells   *deaCells
}

// New makes the dashboard of the node that client asks. It reads nothing yet.
func New(client *api.Client, o Options) *Dashboard {
	d := &Dashboard{client: client, opts: o, mux: http.NewServeMux(), cache: newCache(), cells: newDEACells(), assets: loadAssets()}
	d.layout, d.failure = d.parse("failure"), d.parse("failure")

	d.page("GET /{$}", "overview", d.overview)
	d.page("GET /events", "events", d.events)
	d.page("GET /cluster", "cluster", d.cluster)
	d.page("GET /sandbox", "sandbox", d.sandbox)
	d.form("POST /do/sandbox", d.breakSandbox)
	d.page("GET /apps", "apps", d.apps)
	d.page("GET /apps/{guid...}", "app", d.app)
	d.page("GET /deas", "deas", d.deas)
	d.page("GET /deas/{id...}", "dea", d.dea)
	d.page("GET /commands", "commands", d.commands)
	d.mux.HandleFunc("GET /map/dea/{n}", d.mapCell)
	d.form("POST /do/theme", d.chooseTheme)
	d.form("POST /do/pause", d.pause)
	d.form("POST /do/resume", d.resume)
	d.form("POST /do/hold", d.hold)
	d.form("POST /do/release", d.release)
	d.form("POST /do/cancel", d.cancel)
	d.mux.Handle("GET /assets/{name}", d.assets)
	d.mux.HandleFunc("/", d.noPage)
	return d
}

// ServeHTTP answers a request for a page, an asset, or a change.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	d.mux.ServeHTTP(w, r)
}

// contentSecurity lets a page load nothing from outside, and run nothing that is not one of its assets.
const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"

func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurity)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
