package watch

import (
	"cmp"
	"context"
	"strings"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/words"
)

// lists asks for what the screen shows beside the status.
func (w *Watcher) lists(ctx context.Context) {
	w.mu.Lock()
	q, client := w.query, w.opts.Nodes[w.at].Client
	w.mu.Unlock()
	switch q.Page {
	case liveview.Overview:
		w.paced("apps", q, func() { w.askApps(ctx, client, q) })
		w.paced("deas", q, func() { w.askDEAs(ctx, client, q) })
		w.paced("commands", q, func() { w.askCommands(ctx, client, maxOverviewItems) })
	case liveview.PageApps:
		w.paced("apps", q, func() { w.askApps(ctx, client, q) })
	case liveview.PageDEAs:
		w.paced("deas", q, func() { w.askDEAs(ctx, client, q) })
	case liveview.PageCommands:
		w.paced("commands", q, func() { w.askCommands(ctx, client, maxItems) })
	case liveview.PageApp:
		w.paced("app", q, func() {
			e, err := timed(ctx, w, func(ctx context.Context) (api.Explanation, error) {
				e, _, err := client.Explain(ctx, q.ID, "")
				return e, err
			})
			w.take(func(f *liveview.Frame) { f.App = answer(f.App, q, e, err) })
		})
	case liveview.PageDEA:
		w.paced("dea", q, func() {
			d, err := timed(ctx, w, func(ctx context.Context) (api.DEA, error) {
				d, _, err := client.DEA(ctx, q.ID)
				return d, err
			})
			w.take(func(f *liveview.Frame) { f.DEA = answer(f.DEA, q, d, err) })
		})
	case liveview.PageDetail:
		w.paced("detail", q, func() { w.askDetail(ctx, client, q) })
	}
}

// timed asks for something that must come within the timeout of an answer.
func timed[T any](ctx context.Context, w *Watcher, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	return ask(ctx)
}

// take changes the frame.
func (w *Watcher) take(change func(*liveview.Frame)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.frame)
}

// answer returns the answer to q. After an error it keeps the old value of the same query.
func answer[T any](old liveview.Answer[T], q liveview.Query, v T, err error) liveview.Answer[T] {
	a := liveview.Answer[T]{Query: q, Value: &v}
	if err != nil {
		a.Value, a.Error = nil, reasonOf(err)
		if old.Query == q {
			a.Value = old.Value
		}
	}
	return a
}

// page asks for the first items of a list.
func page[T any](ctx context.Context, w *Watcher, p *api.Pages[T], limit int) (liveview.List[T], error) {
	p.SetSize(limit)
	items, err := timed(ctx, w, p.Next)
	return liveview.List[T]{Items: items, Total: p.Total, More: p.More(), At: p.Basis.At.Time}, err
}

// answered returns a list as the answer to q. After an error it keeps the old items of the same query.
func answered[T any](old, l liveview.List[T], q liveview.Query, err error) liveview.List[T] {
	if err != nil {
		if old.Query != q {
			old = liveview.List[T]{Total: -1}
		}
		l, l.Error = old, reasonOf(err)
	}
	l.Query = q
	return l
}

// selectBy returns the options of a list for what a user typed: a condition, or the beginning of an id.
func selectBy(o api.ListOptions, typed string) api.ListOptions {
	if !strings.ContainsAny(typed, "=<>") {
		o.Prefix = strings.TrimSpace(typed)
		return o
	}
	if o.Filter != "" {
		typed = o.Filter + "," + typed
	}
	o.Filter = typed
	return o
}

// askApps asks for apps; for the overview only for those that drift, the worst first.
func (w *Watcher) askApps(ctx context.Context, c *api.Client, q liveview.Query) {
	o := selectBy(api.ListOptions{Sort: q.Order}, q.Filter)
	limit := maxItems
	if q.Page == liveview.Overview {
		o, limit = api.ListOptions{Sort: "-findings", Filter: "drift=any"}, maxOverviewItems
	}
	l, err := page(ctx, w, c.AppPages(o), limit)
	w.take(func(f *liveview.Frame) { f.Apps = answered(f.Apps, l, q, err) })
}

// inTrouble selects the DEAs that are not plainly heard.
const inTrouble = "state!=heard"

// askDEAs asks for DEAs. Those in trouble come first if that is the order; the overview has no others.
func (w *Watcher) askDEAs(ctx context.Context, c *api.Client, q liveview.Query) {
	var l liveview.List[api.DEA]
	var err error
	switch {
	case q.Page == liveview.Overview:
		l, err = page(ctx, w, c.DEAPages(api.ListOptions{Sort: "-silence", Filter: inTrouble}), maxOverviewItems)
	case q.Order != liveview.ByTrouble:
		l, err = page(ctx, w, c.DEAPages(selectBy(api.ListOptions{Sort: q.Order}, q.Filter)), maxItems)
	default:
		l, err = page(ctx, w, c.DEAPages(selectBy(api.ListOptions{Sort: "-silence", Filter: inTrouble}, q.Filter)), maxItems)
		if left := maxItems - len(l.Items); err == nil && left > 0 {
			var others liveview.List[api.DEA]
			others, err = page(ctx, w, c.DEAPages(selectBy(api.ListOptions{Sort: "-silence", Filter: "state=heard"}, q.Filter)), left)
			l.Items, l.More, l.At = append(l.Items, others.Items...), others.More, others.At
			if l.Total >= 0 && others.Total >= 0 {
				l.Total += others.Total
			}
		}
	}
	w.take(func(f *liveview.Frame) { f.DEAs = answered(f.DEAs, l, q, err) })
}

// askCommands asks for outstanding and ended commands. It keeps the old ones if there is no answer.
func (w *Watcher) askCommands(ctx context.Context, c *api.Client, n int) {
	outstanding, err := timed(ctx, w, c.CommandPages("", api.ListOptions{Limit: n}).Next)
	if err != nil {
		return
	}
	ended, err := timed(ctx, w, func(ctx context.Context) (api.Listing[api.Command], error) { return c.History(ctx, "", n) })
	if err != nil {
		return
	}
	newest := liveview.NewestCommands(outstanding, ended.Items, n)
	w.take(func(f *liveview.Frame) { f.Commands = newest })
}

// askDetail asks for the newest events of one app or one DEA.
func (w *Watcher) askDetail(ctx context.Context, c *api.Client, q liveview.Query) {
	kind, id, _ := strings.Cut(q.ID, " ")
	var of api.EventQuery
	if kind == "dea" {
		of.DEA = id
	} else {
		of.App = id
	}
	got, err := timed(ctx, w, func(ctx context.Context) (api.EventList, error) { return c.Events(ctx, of, maxItems) })
	l := liveview.List[liveview.Event]{Total: -1, More: got.More, At: got.Basis.At.Time}
	for i := len(got.Items) - 1; i >= 0; i-- {
		l.Items = append(l.Items, eventOf(got.Items[i]))
	}
	w.take(func(f *liveview.Frame) { f.Detail = answered(f.Detail, l, q, err) })
}

// eventOf returns an event of the cluster in words.
func eventOf(e api.Event) liveview.Event {
	return liveview.Event{
		At: e.At.Time, Text: words.Event(e, words.Short), ID: cmp.Or(e.ID, e.Kind), Kind: e.Kind, Tone: words.EventTone(e.Kind),
		App: e.App, DEA: e.DEA,
	}
}
