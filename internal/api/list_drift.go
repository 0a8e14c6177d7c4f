package api

import (
	"net/http"
	"slices"
	"strconv"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
)

// driftRow is what a filter or an order of GET /v1/drift knows of a finding. finding is nil if none of the fields needs it.
type driftRow struct {
	ref     ref
	key     app.Key
	at      app.Time
	finding *diff.Finding
}

// needsFinding says that a field needs the finding itself, not only its ref.
const needsFinding needs = 1 << 7

// driftFields are the fields of GET /v1/drift.
var driftFields = []field[driftRow]{
	{name: "due", number: (*driftRow).dueIn, duration: true, sort: func(r *driftRow) int64 { return int64(r.ref.due) },
		about: "time until hm acts on it; 0s if it does so now; findings without an action have none"},
	{name: "kind", texts: text(func(r *driftRow) string { return r.ref.kind.String() }), words: kindWords(),
		sort: func(r *driftRow) int64 { return int64(r.ref.kind) }, about: "kind of drift"},
	{name: "bucket", texts: text(func(r *driftRow) string { return r.ref.bucket.String() }), words: bucketWords(),
		sort: func(r *driftRow) int64 { return int64(r.ref.bucket) }, about: "what is done about it: start and stop now, wait, hold (the gate is closed), keep (nothing)"},
	{name: "app", texts: text(func(r *driftRow) string { return r.key.Droplet.String() }), sort: func(r *driftRow) int64 { return int64(r.ref.key) }, about: "guid of the app"},
	{name: "version", texts: text(func(r *driftRow) string { return r.key.Version.String() }), about: "version of the app"},
	{name: "index", number: func(r *driftRow) (int64, bool) { return int64(r.finding.Index), true }, needs: needsFinding, about: "index of the instance"},
	{name: "action", texts: text(func(r *driftRow) string { return r.finding.Action.String() }),
		words: []string{commands.Start.String(), commands.Stop.String(), commands.None.String()}, needs: needsFinding, about: "what hm does or will do"},
	{name: "rule", texts: text(func(r *driftRow) string { return r.finding.Rule }), needs: needsFinding, about: "id of the rule"},
	{name: "reason", texts: text((*driftRow).reason), needs: needsFinding, about: "reason of the command"},
	{name: "dea", texts: text(func(r *driftRow) string { return r.finding.DEA }), needs: needsFinding, about: "DEA of the instance; empty without a live instance"},
	{name: "instance", texts: text(func(r *driftRow) string { return r.finding.Instance.String() }), needs: needsFinding, about: "guid of the instance"},
}

func (r *driftRow) dueIn() (int64, bool) {
	if r.ref.due == neverDue {
		return 0, false
	}
	return max(0, r.ref.due.Sub(r.at).Milliseconds()), true
}

func (r *driftRow) reason() string {
	if r.finding.Action == commands.None {
		return ""
	}
	return r.finding.Reason.String()
}

// drift answers GET /v1/drift?app=&kind=&prefix=&filter=&sort=&limit=&cursor=, most urgent first unless sort says
// otherwise. All pages of a listing show the drift at the same time, if each is asked for within a minute of the one
// before.
func (s *Server) drift(w http.ResponseWriter, r *http.Request) error {
	kind, err := parseKind(r.URL.Query().Get("kind"))
	if err != nil {
		return err
	}
	l, err := listedOf(r, "drift", driftFields)
	if err != nil {
		return err
	}
	var cursor driftCursor
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	n := s.snapshot()
	if resumed && (cursor.At <= 0 || cursor.At > n.hm || n.hm.Sub(cursor.At) > maxCursorAge || cursor.Digest != l.cursorDigest()) {
		return badCursor()
	}
	found, start, err := s.findDrift(r, n, l, kind, cursor, resumed)
	if err != nil {
		return err
	}
	p := found.p
	items := make([]DriftItem, 0, max(0, min(limit, found.len()-start)))
	read, last := p.reader(), ref{}
	for i := start; i < found.len(); i++ {
		at, _ := found.at(i)
		if kind != diff.KindNone && at.kind != kind {
			continue
		}
		if len(items) == limit {
			k := p.keys[last.key]
			next := driftCursor{At: found.named, Due: last.due, Kind: last.kind, Bucket: last.bucket, App: k.Droplet, Ver: k.Version, Nth: last.nth, Digest: l.cursorDigest()}
			if err := setNext(w, r, next); err != nil {
				return err
			}
			break
		}
		last = at
		f, in := read.finding(at)
		items = append(items, driftItem(n, f, in, p.at))
	}
	w.Header().Set(headerTotal, strconv.Itoa(found.total(kind)))
	w.Header().Set(headerGate, gateHeader(n.held()))
	return writeTagged(w, n.basis(p.view), items, nil)
}

// foundDrift is what a request for drift selects of a pass.
type foundDrift struct {
	*selection[ref]
	p     *pass
	named app.Time // names it in cursors
}

func (f foundDrift) total(kind diff.Kind) (n int) {
	switch {
	case kind == diff.KindNone:
		return f.len()
	case len(f.keys) == len(f.p.list(kind)):
		return f.p.kinds[kind]
	}
	for i := range f.keys {
		if f.keys[i].kind == kind {
			n++
		}
	}
	return n
}

// findDrift gives what a request selects, and where its page begins.
func (s *Server) findDrift(r *http.Request, n snapshot, l listed[driftRow], kind diff.Kind, cursor driftCursor, resumed bool) (f foundDrift, start int, err error) {
	take := func() *pass { return s.fleet.list(n, cursor.At) }
	text := r.URL.Query().Get("app")
	if text != "" {
		keys, err := s.findApp(n, text)
		if err != nil {
			return f, 0, err
		}
		take = func() *pass { return s.fleet.apps(n, cursor.At, keys) }
	}
	if l.plain() && text != "" {
		p := take()
		f = foundDrift{&selection[ref]{n: n, keys: p.list(kind)}, p, p.at}
	} else if l.plain() {
		leave, err := s.selections.scans.enter(r.Context())
		if err != nil {
			return f, 0, err
		}
		p := take()
		leave()
		f = foundDrift{&selection[ref]{n: n, keys: p.list(kind)}, p, p.at}
	} else {
		asked := selectionKey{l.String() + " " + strconv.Quote(text), cursor.At}
		if kind == diff.KindForeign {
			asked.asked += " " + kind.String() // a list of its own
		}
		f, f.named, err = selected(r.Context(), &s.selections, asked, func() (foundDrift, app.Time) {
			p := take()
			return foundDrift{selection: selectDrift(n, p, l, kind), p: p}, p.at
		})
		if err != nil {
			return f, 0, err
		}
	}
	if resumed {
		start = f.resume(cursor, l.order)
	}
	return f, start, nil
}

// resume is the position after a cursor. If the app is no longer in the pass, it is where the app would be.
func (f foundDrift) resume(c driftCursor, o order[driftRow]) int {
	key := app.Key{Droplet: c.App, Version: c.Ver}
	nth, found := f.p.place(key)
	last := ref{due: c.Due, kind: c.Kind, bucket: c.Bucket, key: nth, nth: c.Nth}
	if !found { // nth is the position of the next app: none of its findings was given yet
		last.nth = 0
	}
	return f.after(o.value(&driftRow{ref: last, at: f.p.at}), func(at ref) int {
		if order := at.compare(last); order != 0 || found {
			return order
		}
		return 1
	})
}

// selectDrift selects findings of a pass. If the filter reads the findings themselves, it evaluates the apps of the pass
// once more.
func selectDrift(n snapshot, p *pass, l listed[driftRow], kind diff.Kind) *selection[ref] {
	from, to := prefixRange(p.keys, l.prefix)
	refs := p.list(kind)
	if l.needs()&needsFinding != 0 {
		refs = p.evaluated(from, to, l.filter, kind == diff.KindForeign)
		l.filter = nil // it holds for all of them
	}
	scan, row := selector[ref, driftRow]{filter: l.filter, order: l.order}, driftRow{at: p.at}
	for i, at := range refs {
		yield(i)
		if int(at.key) >= from && int(at.key) < to {
			row.ref, row.key = at, p.keys[at.key]
			scan.add(at, &row)
		}
	}
	return scan.done(n)
}

// list gives the findings among which those of a kind are: the drift, or what may be another cell's.
func (p *pass) list(kind diff.Kind) []ref {
	if kind == diff.KindForeign {
		return p.alone
	}
	return p.refs
}

// evaluated gives the findings of some keys for which a filter holds, most urgent first: drift, or what may be another
// cell's.
func (p *pass) evaluated(from, to int, f filter[driftRow], foreign bool) (refs []ref) {
	read, row := p.reader(), driftRow{at: p.at}
	for key := from; key < to; key++ {
		yield(key)
		if p.sums[key].findings == 0 && !foreign {
			continue
		}
		_, _ = read.finding(ref{key: uint32(key)})
		row.key = p.keys[key]
		for nth := range read.last.Findings {
			row.finding = &read.last.Findings[nth]
			if k := row.finding.Kind; k == diff.KindNone || (k == diff.KindForeign) != foreign {
				continue
			}
			if row.ref = refOf(row.finding, key, nth); f.match(&row) {
				refs = append(refs, row.ref)
			}
		}
	}
	slices.SortFunc(refs, ref.compare)
	return refs
}
