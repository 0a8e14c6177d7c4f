package api

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/commands"
	"hm/internal/app"
)

// commandRow is what a filter or an order of GET /v1/commands knows of a command: an outstanding one, or an answer about
// one that ended.
type commandRow struct {
	recorded *commands.Command // nil: it ended
	ended    *Command

	action, state, reason string
	index                 uint32
	priority              float64
	created, due, sent    time.Time // zero: never
	now                   time.Time
}

func rowOfRecorded(c *commands.Command, wall Wall, now Timestamp) commandRow {
	return commandRow{
		recorded: c, action: c.Action.String(), state: c.State.String(), reason: c.Reason.String(), index: c.Index, priority: c.Priority,
		created: wall.Time(c.CreatedAt).Time, due: wall.Time(c.DueAt).Time, sent: wall.Time(c.SentAt).Time, now: now.Time,
	}
}

func rowOfEnded(c *Command, now Timestamp) commandRow {
	return commandRow{
		ended: c, action: c.Action, state: c.State, reason: c.Reason, index: c.Index, priority: c.Priority,
		created: c.CreatedAt.Time, due: c.DueAt.Time, sent: c.SentAt.Time, now: now.Time,
	}
}

// either gives one of the texts that take time to make.
func either(recorded func(*commands.Command) string, ended func(*Command) string) func(*commandRow, func(string) bool) bool {
	return func(r *commandRow, is func(string) bool) bool {
		if r.recorded != nil {
			return is(recorded(r.recorded))
		}
		return is(ended(r.ended))
	}
}

// commandStates are the states of a command, in the order of its life.
var commandStates = []string{
	commands.Pending.String(), commands.Claimed.String(), commands.Sent.String(), commands.Confirmed.String(),
	commands.Expired.String(), commands.Dropped.String(), commands.Abandoned.String(),
}

// commandFields are the fields of GET /v1/commands.
var commandFields = []field[commandRow]{
	{name: "id", texts: either(func(c *commands.Command) string { return commandID(c.ID) }, func(c *Command) string { return c.ID }), about: "id of the command"},
	{name: "action", texts: text(func(r *commandRow) string { return r.action }), words: []string{commands.Start.String(), commands.Stop.String()}, about: "start or stop"},
	{name: "state", texts: text(func(r *commandRow) string { return r.state }), words: commandStates,
		sort: func(r *commandRow) int64 { return int64(slices.Index(commandStates, r.state)) }, about: "state of the command, sorted in the order of its life"},
	{name: "app", natural: true, texts: either(func(c *commands.Command) string { return c.App.Droplet.String() }, func(c *Command) string { return c.App }), about: "guid of the app"},
	{name: "version", texts: either(func(c *commands.Command) string { return c.App.Version.String() }, func(c *Command) string { return c.Version }), about: "version of the app"},
	{name: "index", number: func(r *commandRow) (int64, bool) { return int64(r.index), true }, about: "index of the instance"},
	{name: "instance", texts: either(func(c *commands.Command) string { return c.Instance.String() }, func(c *Command) string { return c.Instance }), about: "guid of the instance that a stop is for"},
	{name: "reason", texts: text(func(r *commandRow) string { return r.reason }), about: "why hm asks for it, like MISSING"},
	{name: "created", number: func(r *commandRow) (int64, bool) { return since(r.now, r.created) }, duration: true,
		sort: func(r *commandRow) int64 { return orderTime(r.created) }, about: "time since it was scheduled; sorted by that time, the earliest first"},
	{name: "due", number: func(r *commandRow) (int64, bool) { n, ok := since(r.now, r.due); return -n, ok }, duration: true,
		sort: func(r *commandRow) int64 { return orderTime(r.due) }, about: "time until it is due, below 0s if it is late; sorted by that time, the earliest first"},
	{name: "sent", number: func(r *commandRow) (int64, bool) { return since(r.now, r.sent) }, duration: true,
		sort: func(r *commandRow) int64 { return orderTime(r.sent) }, about: "time since it was sent; sorted by that time, the earliest first, and those that are not sent at the end"},
	{name: "priority", sort: func(r *commandRow) int64 { return int64(r.priority * 1e6) }, texts: text(func(r *commandRow) string { return strconv.FormatFloat(r.priority, 'g', -1, 64) }),
		about: "share of the desired instances that is missing"},
}

func since(now, at time.Time) (ms int64, ok bool) { return now.Sub(at).Milliseconds(), !at.IsZero() }

// orderTime puts what never happened at the end.
func orderTime(at time.Time) int64 {
	if at.IsZero() {
		return math.MaxInt64
	}
	return at.UnixMilli()
}

// commandsQuery is what a request for commands asks for.
type commandsQuery struct {
	listed[commandRow]
	droplet     app.GUID // zero: all
	history     int
	outstanding bool
}

// commandKey names a command in the order of the list.
type commandKey struct {
	App      app.GUID        `json:"a"`
	Version  app.GUID        `json:"v"`
	Index    uint32          `json:"i"`
	Action   commands.Action `json:"c"`
	Instance app.GUID        `json:"g"`
}

func keyOfCommand(c *commands.Command) commandKey {
	return commandKey{App: c.App.Droplet, Version: c.App.Version, Index: c.Index, Action: c.Action, Instance: c.Instance}
}

func (k commandKey) command() commands.Command {
	return commands.Command{App: app.Key{Droplet: k.App, Version: k.Version}, Index: k.Index, Action: k.Action, Instance: k.Instance}
}

// commands answers GET /v1/commands?app=&history=&outstanding=&prefix=&filter=&sort=&limit=&cursor=: the outstanding
// commands by app and index, unless sort says otherwise, and with history=N, after the last of them, the newest N that
// ended, newest first. outstanding=false leaves out the outstanding ones. prefix and filter select of both.
func (s *Server) commands(w http.ResponseWriter, r *http.Request) error {
	l, err := listedOf(r, "commands", commandFields)
	if err != nil {
		return err
	}
	var cursor selectionCursor[commandKey]
	limit, resumed, err := pageOf(r, &cursor)
	if err != nil {
		return err
	}
	n := s.snapshot()
	q, err := s.commandsQuery(r, n, l)
	if err != nil {
		return err
	}
	items, more := []Command{}, false
	switch {
	case !q.outstanding:
	case q.plain():
		if cursor.At != 0 || cursor.Digest != 0 {
			return badCursor()
		}
		items, more, err = s.allCommands(w, r, n, q, limit, cursor.Key, resumed)
	default:
		if resumed {
			if err := cursor.checked(q.digest(), n.hm); err != nil {
				return err
			}
		}
		items, more, err = s.selectedCommands(w, r, n, q, limit, cursor, resumed)
	}
	if err != nil {
		return err
	}
	if q.history > 0 && !more {
		ended, err := s.history(r.Context(), n, q.history, q.droplet)
		if err != nil {
			return err
		}
		items = append(items, q.ended(ended, n.at)...)
	}
	return writeTagged(w, n.basis(n.view), items, nil)
}

func (s *Server) commandsQuery(r *http.Request, n snapshot, l listed[commandRow]) (q commandsQuery, err error) {
	values := r.URL.Query()
	q = commandsQuery{listed: l, outstanding: true}
	if text := values.Get("history"); text != "" {
		if q.history, err = strconv.Atoi(text); err != nil || q.history < 0 || q.history > maxPage {
			return q, badRequest("history %.20q must be a number from 0 to %d", text, maxPage)
		}
	}
	if text := values.Get("outstanding"); text != "" {
		if q.outstanding, err = strconv.ParseBool(text); err != nil {
			return q, badRequest("outstanding %.20q must be true or false", text)
		}
	}
	if text := values.Get("app"); text != "" {
		keys, err := s.findApp(n, text)
		if err != nil {
			return q, err
		}
		q.droplet = keys[0].Droplet
	}
	return q, nil
}

// allCommands gives a page of the outstanding commands in their own order.
func (s *Server) allCommands(w http.ResponseWriter, r *http.Request, n snapshot, q commandsQuery, limit int, after commandKey, resumed bool) (items []Command, more bool, err error) {
	items = []Command{}
	last, waits := after.command(), s.commandWaits(n)
	var shown commands.Command
	for c := range n.view.AllCommands() {
		if !q.droplet.IsZero() && c.App.Droplet != q.droplet || resumed && c.Compare(last) <= 0 {
			continue
		}
		if len(items) == limit {
			return items, true, setNext(w, r, selectionCursor[commandKey]{Key: keyOfCommand(&shown)})
		}
		items, shown = append(items, waits.command(c)), c
	}
	return items, false, nil
}

// selectedCommands gives a page of what the request selects of the outstanding commands.
func (s *Server) selectedCommands(w http.ResponseWriter, r *http.Request, n snapshot, q commandsQuery, limit int, cursor selectionCursor[commandKey], resumed bool) (items []Command, more bool, err error) {
	asked := selectionKey{q.String() + " " + strconv.Quote(q.droplet.String()), cursor.At}
	sel, at, err := selected(r.Context(), &s.selections, asked, func() (*selection[commands.ID], app.Time) { return n.selectCommands(q), n.hm })
	if err != nil {
		return nil, false, err
	}
	first := 0
	if resumed {
		last := cursor.Key.command()
		first = sel.after(cursor.Value, func(id commands.ID) int {
			c, _ := sel.n.view.Command(id)
			return c.Compare(last)
		})
	}
	waits := s.commandWaits(sel.n)
	end := min(first+limit, sel.len())
	items = make([]Command, 0, end-first)
	for i := first; i < end; i++ {
		id, value := sel.at(i)
		c, ok := sel.n.view.Command(id)
		if ok {
			items = append(items, waits.command(c))
		}
		if more = i == end-1 && end < sel.len(); more {
			if err := setNext(w, r, selectionCursor[commandKey]{At: at, Digest: q.digest(), Value: value, Key: keyOfCommand(&c)}); err != nil {
				return nil, false, err
			}
		}
	}
	w.Header().Set(headerTotal, strconv.Itoa(sel.len()))
	return items, more, nil
}

// selectCommands looks at every outstanding command.
func (n snapshot) selectCommands(q commandsQuery) *selection[commands.ID] {
	scan, i := selector[commands.ID, commandRow]{filter: q.filter, order: q.order}, 0
	for c := range n.view.AllCommands() {
		yield(i)
		i++
		if !q.droplet.IsZero() && c.App.Droplet != q.droplet {
			continue
		}
		if q.prefix != "" && !strings.HasPrefix(commandID(c.ID), q.prefix) {
			continue
		}
		row := rowOfRecorded(&c, n.wall, n.at)
		scan.add(c.ID, &row)
	}
	return scan.done(n)
}

// ended selects and sorts commands that ended. There are at most maxPage of them.
func (q commandsQuery) ended(items []Command, now Timestamp) []Command {
	items = slices.DeleteFunc(items, func(c Command) bool {
		row := rowOfEnded(&c, now)
		return !strings.HasPrefix(c.ID, q.prefix) || !q.filter.match(&row)
	})
	if q.order.byValue() {
		slices.SortStableFunc(items, func(a, b Command) int {
			x, y := rowOfEnded(&a, now), rowOfEnded(&b, now)
			return cmp.Compare(q.order.value(&x), q.order.value(&y))
		})
	}
	return items
}
