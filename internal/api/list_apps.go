package api

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"hm/actual"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// appRow is what a filter or an order of GET /v1/apps knows of an app. Parts that are not needed are not filled in.
type appRow struct {
	key     app.Key
	desired desired.App
	has     bool // it is in the desired state
	states  [actual.Stopping + 1]int64
	all     int64 // instances
	drift   driftSum
	crashes int64
}

func countOf(st actual.State) func(*appRow) (int64, bool) {
	return func(r *appRow) (int64, bool) { return r.states[st], true }
}

// What filter says of drift: a kind, or any, or none.
const (
	driftAny  = "any"
	driftNone = "none"
	notAsked  = "none" // the desired state of an app that is not in it
)

// appFields are the fields of GET /v1/apps.
var appFields = []field[appRow]{
	{name: "app", natural: true, texts: text(func(r *appRow) string { return r.key.Droplet.String() }), about: "guid of the app"},
	{name: "version", texts: text(func(r *appRow) string { return r.key.Version.String() }), about: "version of the app"},
	{name: "desired", texts: text((*appRow).desiredWord), words: []string{desired.Started.String(), desired.Stopped.String(), notAsked},
		needs: needsInstances, about: "desired state, or none if the app is not in the desired state"},
	{name: "package", texts: text((*appRow).packageWord), words: []string{desired.Pending.String(), desired.Staged.String(), desired.Failed.String(), notAsked},
		needs: needsInstances, about: "state of the package, or none if the app is not in the desired state"},
	{name: "wanted", number: func(r *appRow) (int64, bool) { return int64(r.desired.Instances), r.has }, needs: needsInstances, about: "desired instances"},
	{name: "instances", number: func(r *appRow) (int64, bool) { return r.all, true }, needs: needsInstances, about: "recorded instances"},
	{name: "starting", number: countOf(actual.Starting), needs: needsInstances, about: "instances that start"},
	{name: "running", number: countOf(actual.Running), needs: needsInstances, about: "instances that run"},
	{name: "crashed", number: countOf(actual.Crashed), needs: needsInstances, about: "instances that have crashed"},
	{name: "evacuating", number: countOf(actual.Evacuating), needs: needsInstances, about: "instances that evacuate"},
	{name: "drift", texts: (*appRow).driftWords, words: append(kindWords(), driftAny, driftNone),
		sort: func(r *appRow) int64 { return int64(r.drift.findings) }, needs: needsDrift,
		about: "a kind of drift that the app has, or any, or none; sorted by the number of findings"},
	{name: "findings", number: func(r *appRow) (int64, bool) { return int64(r.drift.findings), true }, needs: needsDrift, about: "number of findings that are drift"},
	{name: "bucket", texts: (*appRow).bucketWords, words: bucketWords(), needs: needsDrift,
		about: "what is done about one of the findings: start and stop now, wait, hold (the gate is closed), keep (nothing)"},
	{name: "crashes", number: func(r *appRow) (int64, bool) { return r.crashes, true }, needs: needsCrashes, about: "crashes that count now, of all indices together"},
}

func kindWords() (words []string) {
	for _, k := range diff.Kinds() {
		words = append(words, k.String())
	}
	return words
}

func bucketWords() (words []string) {
	for b := diff.Keep; b <= diff.Hold; b++ {
		words = append(words, b.String())
	}
	return words
}

func (r *appRow) desiredWord() string {
	if !r.has {
		return notAsked
	}
	return r.desired.State.String()
}

func (r *appRow) packageWord() string {
	if !r.has {
		return notAsked
	}
	return r.desired.Package.String()
}

func (r *appRow) driftWords(is func(string) bool) bool {
	if r.drift.findings == 0 {
		return is(driftNone)
	}
	if is(driftAny) {
		return true
	}
	for _, k := range diff.Kinds() {
		if r.drift.kinds&(1<<k) != 0 && is(k.String()) {
			return true
		}
	}
	return false
}

func (r *appRow) bucketWords(is func(string) bool) bool {
	for b := diff.Keep; b <= diff.Hold; b++ {
		if r.drift.buckets&(1<<b) != 0 && is(b.String()) {
			return true
		}
	}
	return false
}

// apps answers GET /v1/apps?prefix=&filter=&sort=&limit=&cursor=, sorted by app and version unless sort says otherwise.
func (s *Server) apps(w http.ResponseWriter, r *http.Request) error {
	l, err := listedOf(r, "apps", appFields)
	if err != nil {
		return err
	}
	if l.plain() {
		return s.allApps(w, r)
	}
	var cursor selectionCursor[app.Key]
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	n := s.snapshot()
	if resumed {
		if err := cursor.checked(l.digest(), n.hm); err != nil {
			return err
		}
	}
	sel, at, err := selected(r.Context(), &s.selections, selectionKey{l.String(), cursor.At}, func() (*selection[app.Key], app.Time) {
		return s.selectApps(n, l), n.hm
	})
	if err != nil {
		return err
	}
	first := 0
	if resumed {
		first = sel.after(cursor.Value, func(k app.Key) int { return k.Compare(cursor.Key) })
	}
	end := min(first+limit, sel.len())
	keys := make([]app.Key, 0, end-first)
	var value int64
	for i := first; i < end; i++ {
		var k app.Key
		k, value = sel.at(i)
		keys = append(keys, k)
	}
	if end < sel.len() && len(keys) > 0 {
		if err := setNext(w, r, selectionCursor[app.Key]{At: at, Digest: l.digest(), Value: value, Key: keys[len(keys)-1]}); err != nil {
			return err
		}
	}
	w.Header().Set(headerTotal, strconv.Itoa(sel.len()))
	return writeTagged(w, n.basis(sel.n.view), s.appItems(sel.n, keys), nil)
}

// allApps answers with a page of the whole list in its own order. It evaluates no app but those of the page.
func (s *Server) allApps(w http.ResponseWriter, r *http.Request) error {
	var last app.Key
	limit, resumed, err := pageOf(r, &last)
	if err != nil {
		return err
	}
	n := s.snapshot()
	keys := s.keys.of(n.view)
	total := len(keys)
	if resumed {
		i, found := slices.BinarySearchFunc(keys, last, app.Key.Compare)
		if found {
			i++
		}
		keys = keys[i:]
	}
	more := len(keys) > limit
	keys = keys[:min(limit, len(keys))]
	if more {
		if err := setNext(w, r, keys[len(keys)-1]); err != nil {
			return err
		}
	}
	w.Header().Set(headerTotal, strconv.Itoa(total))
	return writeTagged(w, n.basis(n.view), s.appItems(n, keys), nil)
}

// appItems evaluates apps. Those that were removed since the keys were listed are left out.
func (s *Server) appItems(n snapshot, keys []app.Key) []AppItem {
	items := make([]AppItem, 0, len(keys))
	eval, know := reconcile.NewEvaluator(s.opts.Policy), n.knowledge()
	for i, k := range keys {
		yield(i)
		if _, ok := n.view.App(k); ok {
			items = append(items, s.appItem(eval.App(n.view, k, know, n.hm), n.hm))
		}
	}
	return items
}

func (s *Server) appItem(e *reconcile.Evaluation, now app.Time) AppItem {
	in := &e.Input
	item := AppItem{
		App: in.Key.Droplet.String(), Version: in.Key.Version.String(), Desired: desiredOf(in.Desired),
		Instances: countInstances(in.Instances), Verdict: verdict(e.Findings),
	}
	for f := range e.Drift() {
		if item.Drift == 0 {
			item.Kinds = map[string]int{}
		}
		item.Drift++
		item.Kinds[f.Kind.String()]++
	}
	for _, c := range in.Crashes {
		item.Crashes += uint64(s.opts.Policy.Crashes(c, now))
	}
	return item
}

// selectApps looks at every app with the prefix. It finds out only what the filter and the order need; drift comes from
// a recent pass over the fleet.
func (s *Server) selectApps(n snapshot, l listed[appRow]) *selection[app.Key] {
	need := l.needs()
	var p *pass
	if need&needsDrift != 0 {
		p = s.fleet.recent(n)
		n.view, n.hm, n.know = p.view, p.at, &p.know
	}
	var crashes map[app.Key]int64
	if need&needsCrashes != 0 {
		crashes = s.crashCounts(n)
	}
	keys := s.keys.of(n.view)
	if p != nil && l.onlyDrift() {
		keys = p.keys
	}
	scan, next := selector[app.Key, appRow]{filter: l.filter, order: l.order}, 0
	from, to := prefixRange(keys, l.prefix)
	for i, k := range keys[from:to] {
		yield(i)
		row := appRow{key: k, crashes: crashes[k]}
		if p != nil { // its keys are sorted, too
			for next < len(p.keys) && p.keys[next].Compare(k) < 0 {
				next++
			}
			if next < len(p.keys) && p.keys[next] == k {
				row.drift = p.sums[next]
			}
		}
		if need&needsInstances != 0 {
			if !row.count(n.view) {
				continue
			}
		} else if _, ok := n.view.App(k); !ok {
			continue // it was removed since the keys were listed
		}
		scan.add(k, &row)
	}
	return scan.done(n)
}

// onlyDrift reports whether no app without drift fits the filter.
func (l listed[T]) onlyDrift() bool {
	for i := range l.filter {
		c, ok := any(&l.filter[i]).(*condition[appRow])
		if ok && c.field.needs == needsDrift && !c.match(&appRow{}) {
			return true
		}
	}
	return false
}

// count fills in the desired state and the instances. It reports whether the app is recorded.
func (r *appRow) count(view *raftfsm.State) bool {
	a, ok := view.EachInstanceOf(r.key, func(_ uint32, st actual.State, _ app.Time) {
		r.all++
		if int(st) < len(r.states) {
			r.states[st]++
		}
	})
	r.desired, r.has = a.Desired, a.HasDesired
	return ok
}

// crashCounts gives the crashes that count now, by app.
func (s *Server) crashCounts(n snapshot) map[app.Key]int64 {
	counts := map[app.Key]int64{}
	for k, c := range n.view.AllCrashes() {
		if effective := s.opts.Policy.Crashes(c, n.hm); effective > 0 {
			counts[k] += int64(effective)
		}
	}
	return counts
}

// prefixRange gives the part of the sorted keys whose droplets begin with text. If there is none, the case of letters
// does not count.
func prefixRange(keys []app.Key, text string) (from, to int) {
	if text == "" {
		return 0, len(keys)
	}
	for _, text := range []string{text, strings.ToLower(text)} {
		from = sort.Search(len(keys), func(i int) bool { return keys[i].Droplet.String() >= text })
		rest := keys[from:]
		to = from + sort.Search(len(rest), func(i int) bool { return !strings.HasPrefix(rest[i].Droplet.String(), text) })
		if to > from {
			break
		}
	}
	return from, to
}
