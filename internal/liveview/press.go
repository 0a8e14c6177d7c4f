package liveview

import (
	"slices"
	"unicode/utf8"

	"hm/internal/reconcile"
)

// Effect is what a key asks for outside the screen. The zero Effect is nothing.
type Effect struct {
	Action Action  // one of the view model's own, or Quit
	Change *Change // of the cluster; nil: none
}

// Change is a change of the cluster that the user has confirmed.
type Change struct {
	Pause   bool   // set the hold that hm pause sets
	Reason  string // of the pause
	Release string // the name of a hold to release
}

// Press returns the screen after a key, and what else the key asks for. text is what the key prints, if it prints
// something. The frame and the size are those that the user sees. own are the keys of the view model; they come before
// those of the screen.
func (s Screen) Press(name, text string, f Frame, width, height int, own Keys) (Screen, Effect) {
	s.seen = max(s.seen, f.Notice.Number) // any key puts a notice away
	switch {
	case name == "ctrl+c":
		return s, Effect{Action: Quit}
	case s.dialog != nil:
		return s.pressDialog(name, text, f)
	case s.editing:
		return s.pressFilter(name, text), Effect{}
	case s.help:
		return s.pressHelp(name, f, width, height)
	}
	action, ok := own.ActionOf(name)
	if !ok {
		if action, ok = f.screenKeys().ActionOf(name); !ok {
			return s, Effect{}
		}
		return s.act(action, f, width, height)
	}
	return s, Effect{Action: action}
}

// pressHelp takes a key while the help is shown.
func (s Screen) pressHelp(name string, f Frame, width, height int) (Screen, Effect) {
	action, _ := lookKeys.ActionOf(name)
	d := draw(f, s, width, height, Theme{})
	if by := steps(action, d.visible); by != 0 {
		s.helpTop = min(max(0, s.helpTop+by), max(0, d.length-d.visible))
		return s, Effect{}
	}
	s.help = false
	if name == "q" {
		return s, Effect{Action: Quit}
	}
	return s, Effect{}
}

// steps returns how many rows or lines a key moves on a page of which some are visible; 0 if it does not move.
func steps(action Action, visible int) int {
	const far = 1 << 20
	return map[Action]int{
		rowUp: -1, rowDown: 1, screenUp: -visible, screenDown: visible, toFirst: -far, toLast: far,
	}[action]
}

// screenKeys returns the keys of the screen that do something. A recording has one page, and nothing to change.
func (f Frame) screenKeys() Keys {
	if f.Play != nil {
		return append(Keys{{"?", showHelp, "help", "shows the keys"}}, quitKeys...)
	}
	return screenKeys
}

// act does what a key of the screen does.
func (s Screen) act(action Action, f Frame, width, height int) (Screen, Effect) {
	switch action {
	case Quit:
		return s, Effect{Action: Quit}
	case showHelp:
		s.help, s.helpTop = true, 0
	case toOverview, toApps, toDEAs, toCommands, toEvents, toCluster:
		at := slices.IndexFunc(pageKeys, func(k Key) bool { return k.Action == action })
		s = s.open(spot{page: Page(at)})
	case nextPage:
		s = s.open(spot{page: s.turn(1)})
	case previous:
		s = s.open(spot{page: s.turn(-1)})
	case toBack:
		if s.filters[s.page] != "" {
			s.filters[s.page], s.cursor = "", ""
			return s, Effect{}
		}
		s = s.goBack()
	case editFilter:
		if s.canFilter() {
			s.editing, s.typed = true, s.filters[s.page]
		}
	case nextOrder:
		s.orders[s.page]++
		s.cursor = ""
	case allIndices:
		s.all = !s.all
	case toDetail:
		s = s.openDetail(f, width, height)
	case askPause:
		s.dialog = pauseDialog(f)
	case askRelease:
		s.dialog = s.releaseDialog(f, width, height)
	default:
		s = s.look(action, f, width, height)
	}
	return s, Effect{}
}

// turn returns the page a number of pages further, of those that have a key.
func (s Screen) turn(by int) Page {
	at := int(s.page)
	if s.page > PageCluster {
		at = int(Overview)
	}
	n := len(pageKeys)
	return Page((at + by + n) % n)
}

// canFilter reports whether the page is a list with a filter.
func (s Screen) canFilter() bool {
	switch s.page {
	case PageApps, PageDEAs, PageCommands, PageEvents, PageDetail:
		return true
	}
	return false
}

// look moves the cursor, opens what is under it, or scrolls a page without rows.
func (s Screen) look(action Action, f Frame, width, height int) Screen {
	d := draw(f, s, width, height, Theme{})
	if action == openRow {
		if r, ok := s.chosen(d.rows); ok && r.open != nil {
			return s.open(*r.open)
		}
		return s
	}
	by := steps(action, d.visible)
	if len(d.rows) == 0 {
		s.top = min(max(0, s.top+by), max(0, d.length-d.visible))
		return s
	}
	if action == toFirst || action == toLast {
		s.cursor = d.rows[0].key
	}
	return s.move(d.rows, by)
}

// openDetail shows the events of the app or the DEA that is shown or chosen.
func (s Screen) openDetail(f Frame, width, height int) Screen {
	page, id := s.page, s.id
	if r, ok := s.chosen(draw(f, s, width, height, Theme{}).rows); ok && r.open != nil && page != PageApp {
		page, id = r.open.page, r.open.id
	}
	if page != PageApp && page != PageDEA {
		return s
	}
	return s.open(spot{page: PageDetail, id: detailOf(page, id)})
}

// pressFilter takes a key while the filter is typed.
func (s Screen) pressFilter(name, text string) Screen {
	switch name {
	case "enter":
		s.filters[s.page], s.editing, s.cursor = s.typed, false, ""
	case "esc":
		s.editing = false
	default:
		s.typed = typeKey(s.typed, name, text)
	}
	return s
}

// Paste takes a text that the user pastes into what he is typing.
func (s Screen) Paste(text string) Screen {
	switch {
	case s.dialog != nil && s.dialog.kind == dialogPause:
		d := *s.dialog
		d.typed = typeKey(d.typed, "", text)
		s.dialog = &d
	case s.editing:
		s.typed = typeKey(s.typed, "", text)
	}
	return s
}

// typeKey returns a line of text after a key.
func typeKey(line, name, text string) string {
	switch name {
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(line)
		return line[:len(line)-size]
	case "ctrl+u":
		return ""
	}
	text = Plain(text)
	if len(line)+len(text) > maxTyped {
		return line
	}
	return line + text
}

// paused reports whether somebody paused hm.
func (f Frame) paused() bool {
	return f.Status != nil && slices.ContainsFunc(f.Status.Holds, isPause)
}

func isPause(h hold) bool { return h.Name == reconcile.HoldPaused }
