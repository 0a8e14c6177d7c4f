package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"hm/diff"
	"hm/internal/app"
)

// driftCursor names the last finding of a page, in a pass that was made at At.
type driftCursor struct {
	At   app.Time  `json:"t"`
	Due  app.Time  `json:"d"`
	Kind diff.Kind `json:"k"`
	App  app.GUID  `json:"a"`
	Ver  app.GUID  `json:"v"`
	Nth  uint32    `json:"n"`
}

// maxCursorAge is how long after its first page a listing of drift may be continued.
const maxCursorAge = time.Hour

// drift answers GET /v1/drift?app=&kind=&limit=&cursor=. All pages of a listing show the drift at the same time, if
// each is asked for within a minute of the one before.
func (s *Server) drift(w http.ResponseWriter, r *http.Request) error {
	if err := refuseUnknown(r, "app", "kind", "limit", "cursor"); err != nil {
		return err
	}
	kind, err := parseKind(r.URL.Query().Get("kind"))
	if err != nil {
		return err
	}
	var cursor driftCursor
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	n := s.snapshot()
	if resumed && (cursor.At <= 0 || cursor.At > n.hm || n.hm.Sub(cursor.At) > maxCursorAge) {
		return badCursor()
	}
	var p *pass
	if text := r.URL.Query().Get("app"); text != "" {
		keys, err := s.findApp(n, text)
		if err != nil {
			return err
		}
		p = s.fleet.apps(n, cursor.At, keys)
	} else {
		p = s.fleet.list(n, cursor.At)
	}
	start := 0
	if resumed {
		start = p.resume(cursor)
	}
	items := make([]DriftItem, 0, min(limit, len(p.refs)-start))
	read := p.reader()
	for i := start; i < len(p.refs); i++ {
		at := p.refs[i]
		if kind != diff.KindNone && at.kind != kind {
			continue
		}
		if len(items) == limit {
			last := p.refs[i-1]
			k := p.keys[last.key]
			if err := setNext(w, r, driftCursor{At: p.at, Due: last.due, Kind: last.kind, App: k.Droplet, Ver: k.Version, Nth: last.nth}); err != nil {
				return err
			}
			break
		}
		f, in := read.finding(at)
		items = append(items, driftItem(n, f, in, p.at))
	}
	w.Header().Set(headerTotal, strconv.Itoa(p.total(kind)))
	w.Header().Set(headerGate, gateHeader(n.held()))
	return writeJSON(w, http.StatusOK, n.basis(p.view), items)
}

// gateHeader gives the gate for a listing of drift. That the node does not lead is not among its reasons.
func gateHeader(held []string) string {
	if len(held) == 0 {
		return "open"
	}
	return strings.Join(held, ",")
}

func (p *pass) total(kind diff.Kind) int {
	if kind != diff.KindNone {
		return p.kinds[kind]
	}
	return len(p.refs)
}

// resume is the position after a cursor. If the app is no longer in the pass, it is where the app would be.
func (p *pass) resume(c driftCursor) int {
	key, found := p.place(app.Key{Droplet: c.App, Version: c.Ver})
	last := ref{due: c.Due, kind: c.Kind, key: key, nth: c.Nth}
	if !found { // key is the position of the next app: none of its findings was given yet
		last.nth = 0
		return p.from(last)
	}
	return p.from(last.next())
}

func parseKind(text string) (diff.Kind, error) {
	if text == "" {
		return diff.KindNone, nil
	}
	for _, k := range diff.Kinds() {
		if k.String() == text {
			return k, nil
		}
	}
	words := []string{}
	for _, k := range diff.Kinds() {
		words = append(words, k.String())
	}
	return diff.KindNone, problem(http.StatusBadRequest, "bad-request", "there is no kind of drift "+strconv.Quote(cut(text)), "use one of "+strings.Join(words, ", "))
}

// cut shortens a text of a request, to quote it.
func cut(text string) string { return text[:min(len(text), 80)] }
