package liveview

import (
	"fmt"
	"strings"

	"hm/internal/words"
)

// footMost is how many lines the keys of the view model may take at the end of the screen.
const footMost = 2

// foot are the last lines: the keys, or what is typed.
func (p painter) foot() []line {
	switch {
	case p.Still, p.dialog != nil:
		return nil
	case p.editing:
		return []line{text(words.Piece{Tone: toneTitle, Text: "filter: "}, p.typed+"_", faint("  "+filterHelp(p.page)))}
	case p.help:
		return []line{text(faint("up, down and pgdown scroll; any other key goes back"))}
	}
	most := footMost
	if p.height >= 40 {
		most = 2 * footMost
	}
	var lines []line
	if p.Keys != nil && p.Play == nil && p.page == Overview {
		lines = p.flow(keyWords(without(p.Keys, Quit)), most)
	}
	return append(lines, p.flow(p.footKeys(), 1)...)
}

// footKeys are the keys of the screen that are worth the last line, the most useful first.
func (p painter) footKeys() []words.Text {
	if p.Play != nil {
		return keyWords(p.Keys)
	}
	help := Keys{{"?", showHelp, "help", ""}, {"q", Quit, "quit", ""}}
	if p.page == Overview {
		return append(keyWords(pageKeys), keyWords(help)...)
	}
	keys := Keys{{"esc", toBack, "back", ""}}
	if len(p.filters[p.page]) == 0 && p.canFilter() {
		keys = append(keys, Key{"/", editFilter, "filter", ""})
	}
	switch p.page {
	case PageApps, PageDEAs:
		keys = append(keys, Key{"o", nextOrder, "order", ""}, Key{"enter", openRow, "open", ""}, Key{"v", toDetail, "events of it", ""})
	case PageCommands, PageEvents, PageDetail:
		keys = append(keys, Key{"enter", openRow, "open", ""})
	case PageCluster:
		keys = append(keys, Key{"x", askRelease, "release a hold", ""})
	case PageApp:
		keys = append(keys, Key{"i", allIndices, "all indices", ""}, Key{"v", toDetail, "events of it", ""})
	case PageDEA:
		keys = append(keys, Key{"enter", openRow, "open an app", ""}, Key{"v", toDetail, "events of it", ""})
	}
	return append(keyWords(keys), append([]words.Text{words.Say(words.Piece{Tone: toneLabel, Text: "1-6"}, " pages")}, keyWords(help)...)...)
}

func without(keys Keys, action Action) Keys {
	var left Keys
	for _, k := range keys {
		if k.Action != action {
			left = append(left, k)
		}
	}
	return left
}

func keyWords(keys Keys) []words.Text {
	var all []words.Text
	for _, k := range keys {
		if k.Help != "" {
			all = append(all, words.Say(words.Piece{Tone: toneLabel, Text: k.Name}, " "+k.Help))
		}
	}
	return all
}

// filterHelp says what a filter of a page may be.
func filterHelp(page Page) string {
	switch page {
	case PageApps:
		return "the beginning of a guid, or like drift=missing,crashes>3"
	case PageDEAs:
		return "the beginning of an id, or like state=gone,silence>1m"
	}
	return "words that a row must have"
}

// helpLines are all keys with what they do.
func (p painter) helpLines() []line {
	var lines []line
	list := func(title string, keys Keys) {
		if len(keys) == 0 {
			return
		}
		lines = append(lines, text(words.Piece{Tone: toneTitle, Text: title}))
		for _, k := range joined(keys) {
			lines = append(lines, text("  ", words.Piece{Tone: toneLabel, Text: fit(k.Name, 22)}, k.Does))
		}
	}
	own := without(p.Keys, Quit)
	if len(own) > 0 {
		list("Keys of "+p.Title, own)
	}
	left := lines
	lines = nil
	for _, g := range p.keyGroups() {
		list(g.title, g.keys)
	}
	if p.width >= columnsFrom && len(left) > 0 {
		return beside(left, lines, p.width/2-2)
	}
	return append(left, lines...)
}

// keyGroup is some keys under a title.
type keyGroup struct {
	title string
	keys  Keys
}

// keyGroups are the keys of the screen. A key that the view model uses itself is left out.
func (p painter) keyGroups() []keyGroup {
	if p.Play != nil {
		return []keyGroup{{"Other keys", p.screenKeys()}}
	}
	groups := []keyGroup{{"Pages", pageKeys}, {"On a page", lookKeys}, {"Changes of the cluster", changeKeys}, {"Other keys", quitKeys}}
	for i, g := range groups {
		var free Keys
		for _, k := range g.keys {
			if a, used := p.Keys.ActionOf(k.Name); !used || a == Quit {
				free = append(free, k)
			}
		}
		groups[i].keys = free
	}
	return groups
}

// joined returns keys with those that do the same in one.
func joined(keys Keys) Keys {
	var out Keys
	for _, k := range keys {
		if n := len(out); n > 0 && k.Does == "" && out[n-1].Action == k.Action {
			out[n-1].Name += ", " + k.Name
			continue
		}
		if k.Does != "" {
			out = append(out, k)
		}
	}
	return out
}

// KeyTable returns the keys of hm top and of hm dev as tables in Markdown.
func KeyTable() string {
	var b strings.Builder
	p := painter{}
	for _, g := range append(p.keyGroups(), keyGroup{"Keys of hm dev", without(DevKeys, Quit)}) {
		fmt.Fprintf(&b, "%s:\n\n| key | what it does |\n|---|---|\n", g.title)
		for _, k := range joined(g.keys) {
			names := "`" + strings.ReplaceAll(k.Name, ", ", "`, `") + "`"
			fmt.Fprintf(&b, "| %s | %s |\n", names, k.Does)
		}
		b.WriteString("\n")
	}
	return b.String()
}
