package component

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Limits on collectors. As with the components of that time, a connection carries one request.
const (
	maxConns       = 64
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = time.Minute // of the answer, and of making it
)

func (c *Component) newHTTPServer() *http.Server {
	s := &http.Server{
		Handler: http.HandlerFunc(c.serve), MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: headerTimeout,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		ErrorLog: slog.NewLogLogger(c.opts.Logger.Handler(), slog.LevelDebug),
	}
	s.SetKeepAlivesEnabled(false)
	return s
}

func (c *Component) serveHTTP() {
	if err := c.http.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
		c.opts.Logger.Error("/varz is no longer served to collectors", "error", err)
	}
}

// serve answers one request. Without the credentials it tells nothing, not even which paths there are.
func (c *Component) serve(w http.ResponseWriter, r *http.Request) {
	code := http.StatusOK
	switch {
	case !c.auth.OK(r):
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="hm", charset="UTF-8"`)
		c.log.Warn("unauthorized", "a request for /varz or /healthz has a wrong user name or password",
			func() []any { return []any{"from", r.RemoteAddr} })
	case r.URL.Path != "/healthz" && r.URL.Path != "/varz":
		code = http.StatusNotFound
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		code = http.StatusMethodNotAllowed
		w.Header().Set("Allow", "GET, HEAD")
	}
	c.counts.requested(code)
	switch {
	case code != http.StatusOK:
		http.Error(w, http.StatusText(code), code)
	case r.URL.Path == "/healthz":
		write(w, "text/plain; charset=utf-8", []byte("ok\n"))
	default:
		write(w, "application/json", c.varz.get(c.makeVarz))
	}
}

func write(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client may have gone
}
