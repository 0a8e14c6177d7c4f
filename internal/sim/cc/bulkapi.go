package cc

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// maxBatch bounds batch_size, which a real Cloud Controller does not.
const maxBatch = 1_000_000

// Handler serves what the Cloud Controller offers over HTTP: the bulk API (D03, N44) and the health manager's
// commands (N23, N24).
func (c *Controller) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bulk/apps", c.serveApps)
	mux.HandleFunc("GET /bulk/counts", c.serveCounts)
	mux.HandleFunc("POST /internal/dea/hm9000/start/{guid}",
		func(w http.ResponseWriter, r *http.Request) { c.serveCommand(w, r, ActionStart) })
	mux.HandleFunc("POST /internal/dea/hm9000/stop/{guid}",
		func(w http.ResponseWriter, r *http.Request) { c.serveCommand(w, r, ActionStop) })
	return mux
}

func (c *Controller) serveApps(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	fault, delay := c.faults.Bulk, c.faults.BulkDelay
	c.mu.Unlock()
	if delay > 0 && !pause(r.Context(), delay) {
		return
	}
	switch {
	case fault == BulkTimeout:
		<-r.Context().Done()
		return
	case fault == BulkUnauthorized || !authorized(r, c.opts.BulkUser, c.opts.BulkPassword):
		refuse(w, http.StatusUnauthorized, 10002, "Authentication error")
		return
	case fault == BulkError:
		refuse(w, http.StatusInternalServerError, 10001, "Database error")
		return
	case fault == BulkHTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><head><title>Welcome</title></head><body><p>It works.</p></body></html>\n")
		return
	}
	query := r.URL.Query()
	size, err := strconv.Atoi(query.Get("batch_size"))
	if err != nil || size < 1 {
		refuse(w, http.StatusBadRequest, 10005, "The query parameter is invalid: batch_size")
		return
	}
	from, ok := parseToken(query.Get("bulk_token"))
	if !ok {
		refuse(w, http.StatusBadRequest, 10005, "The query parameter is invalid: bulk_token")
		return
	}
	if fault == BulkSecondPage && from > 0 {
		refuse(w, http.StatusInternalServerError, 10001, "Database error")
		return
	}
	keep := bulkVisible
	switch {
	case fault == BulkEmpty:
		keep = func(Row) bool { return false }
	case c.opts.BulkAllRows:
		keep = func(r Row) bool { return !r.Diego }
	}
	c.mu.Lock()
	page := rowsAfter(c.bulkRows(), from, min(size, maxBatch), keep)
	c.mu.Unlock()
	body := appendPage(nil, page)
	if fault == BulkTruncated {
		body = body[:len(body)/2]
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	_, _ = w.Write(body) // the client may have gone
}

// bulkRows gives the rows that the bulk API shows.
func (c *Controller) bulkRows() []Row {
	if c.faults.Bulk == BulkStale {
		return c.stale
	}
	return c.apps.rows
}

// bulkVisible reports whether the Cloud Controllers of 2015 to 2017 gave a row (D17).
func bulkVisible(r Row) bool {
	return !r.Diego && r.State == desired.Started && r.Package != desired.Failed
}

// parseToken reads a bulk_token: {} or {"id":n}, where n may be null.
func parseToken(text string) (int64, bool) {
	var token *struct {
		ID *int64 `json:"id"`
	}
	if err := json.Unmarshal([]byte(text), &token); err != nil || token == nil {
		return 0, false
	}
	if token.ID == nil {
		return 0, true
	}
	return *token.ID, *token.ID >= 0
}

// appendPage encodes one page, rows in ascending id (D03, D04).
func appendPage(dst []byte, page []Row) []byte {
	dst = append(dst, `{"results":{`...)
	for i, r := range page {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(wire.AppendGUID(dst, r.GUID), ':')
		dst = wire.AppendGUID(append(dst, `{"id":`...), r.GUID)
		dst = strconv.AppendInt(append(dst, `,"instances":`...), int64(r.Instances), 10)
		dst = append(append(dst, `,"state":"`...), r.State.String()...)
		dst = strconv.AppendInt(append(dst, `","memory":`...), int64(r.Memory), 10)
		dst = append(append(dst, `,"package_state":"`...), r.Package.String()...)
		dst = wire.AppendGUID(append(dst, `","version":`...), r.Version)
		dst = append(append(dst, `,"updated_at":"`...), r.UpdatedAt.UTC().Format(time.RFC3339)...)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, `},"bulk_token":{"id":`...)
	if len(page) == 0 {
		return append(dst, `null}}`...)
	}
	return append(strconv.AppendInt(dst, page[len(page)-1].ID, 10), `}}`...)
}

func (c *Controller) serveCounts(w http.ResponseWriter, r *http.Request) {
	if !authorized(r, c.opts.BulkUser, c.opts.BulkPassword) {
		refuse(w, http.StatusUnauthorized, 10002, "Authentication error")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"counts": map[string]int{"user": 1}})
}

// serveCommand takes a command over HTTP. An app without a row is a 404 before the body is read, for a stop, too (N25,
// W01). Otherwise the answer is 200, whatever the decision, unless an accepted start fails: a 503 if no DEA has room for
// it, a 404 if the app's package is not found.
func (c *Controller) serveCommand(w http.ResponseWriter, r *http.Request, action string) {
	if !authorized(r, c.opts.CommandUser, c.opts.CommandSecret) {
		refuse(w, http.StatusUnauthorized, 10002, "Authentication error")
		return
	}
	guid, err := app.ParseGUID(r.PathValue("guid"))
	c.mu.Lock()
	_, known := c.apps.get(guid)
	delay := c.faults.RespondentDelay
	c.mu.Unlock()
	if delay > 0 && !pause(r.Context(), delay) {
		return
	}
	if err != nil || !known {
		refuse(w, http.StatusNotFound, 100004, "The app could not be found: "+r.PathValue("guid"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || !json.Valid(body) {
		refuse(w, http.StatusBadRequest, 1001, "Request invalid due to parse error")
		return
	}
	switch cmd, _ := c.take(action, "http", body); cmd.Failed {
	case FailedNoRoom:
		refuse(w, http.StatusServiceUnavailable, 150003,
			"One or more instances could not be started because of insufficient running resources.")
	case FailedNoPackage:
		refuse(w, http.StatusNotFound, 150002, "The app package could not be found: "+guid.String())
	default:
		writeJSON(w, http.StatusOK, struct{}{})
	}
}

func authorized(r *http.Request, user, password string) bool {
	u, p, ok := r.BasicAuth()
	right := subtle.ConstantTimeCompare([]byte(u), []byte(user)) == 1
	return subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 1 && right && ok
}

// refuse answers with the Cloud Controller's error object.
func refuse(w http.ResponseWriter, status, code int, description string) {
	writeJSON(w, status, struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	}{code, description})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
