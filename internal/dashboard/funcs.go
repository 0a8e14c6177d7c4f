package dashboard

import (
	"embed"
	"fmt"
	"html/template"
	"maps"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hm/internal/api"
	"hm/internal/words"
)

//go:embed templates
var templateFiles embed.FS

// parse makes the template of a page from its own file and the shared ones.
func (d *Dashboard) parse(name string) *template.Template {
	t := template.New(name).Funcs(d.funcs())
	return template.Must(t.ParseFS(templateFiles, "templates/layout.html", "templates/live.html", "templates/breakers.html", "templates/parts.html",
		"templates/lists.html", "templates/"+name+".html"))
}

// funcs are what all templates may call. Those that take a basis count time from the answer, as the CLI does.
func (d *Dashboard) funcs() template.FuncMap {
	funcs := template.FuncMap{
		"asset": d.assets.path, "nav": d.navigation, "icon": icon,
		"ago": words.Ago, "heard": words.Heard, "span": words.Span, "when": words.When, "moment": moment, "count": count, "short": words.Short, "num": num,
		"eventText": func(e api.Event) string { return words.OneLine(words.Event(e, words.Short)) }, "eventTone": words.EventTone,
		"desiredState": words.DesiredState, "actualState": words.ActualState, "drift": words.Drift, "queue": words.Queue,
		"commandsText": words.Commands, "quorum": words.Quorum, "add": func(a, b int) int { return a + b },
		"member": words.Member, "hold": words.Hold, "link": words.Link,
		"draining": words.Draining, "freshness": freshness, "counted": words.Counted,
		"deref": func(b *bool) bool { return *b },
		"text":  toned, "lines": linesHTML, "tone": toneClass,
		"banner": bannerOf, "join": strings.Join, "dict": dict, "list": func(v ...string) []string { return v },
		"percent": percent, "capital": capital, "seconds": func(ms int64) float64 { return float64(ms) / 1000 },
	}
	maps.Copy(funcs, listFuncs)
	return funcs
}

// place is a page in the navigation.
type place struct {
	Page, Path, Text string
	Key              string // after g
}

func (d *Dashboard) navigation() []place {
	places := []place{
		{"overview", "/", "Overview", "o"}, {"apps", "/apps", "Apps", "a"}, {"deas", "/deas", "DEAs", "d"},
		{"commands", "/commands", "Commands", "c"}, {"events", "/events", "Events", "e"}, {"cluster", "/cluster", "Cluster", "l"},
	}
	if d.opts.Sandbox != nil {
		places = append(places, place{"sandbox", "/sandbox", "Sandbox", "s"})
	}
	return places
}

// dict makes a map of names and values, for templates that take several.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict has %d arguments, want names and values", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict has %v where a name should be", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// moment shows a time: its text, such as an age, with the exact time as its title.
func moment(text string, t api.Timestamp) template.HTML {
	if t.IsZero() {
		return template.HTML(template.HTMLEscapeString(text))
	}
	exact := t.UTC().Format("2006-01-02 15:04:05.000 UTC")
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`,
		t.UTC().Format(time.RFC3339Nano), exact, template.HTMLEscapeString(text)))
}

// num writes a number, or the number that a pointer points to, with a thin gap between groups of three digits.
func num(n any) string {
	text := fmt.Sprint(reflect.Indirect(reflect.ValueOf(n)))
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	var out []string
	for len(text) > 3 {
		out = append([]string{text[len(text)-3:]}, out...)
		text = text[:len(text)-3]
	}
	return sign + strings.Join(append([]string{text}, out...), "\u202f")
}

// percent is n in hundred of all, rounded down, so that 100 means all.
func percent(n, all int) int {
	if all <= 0 {
		return 0
	}
	return int(int64(n) * 100 / int64(all))
}

// count gives "1 app" or "2 apps", with gaps in long numbers.
func count(n any, singular string) string {
	text := num(n)
	if text == "1" {
		return "1 " + singular
	}
	return text + " " + singular + "s"
}

// freshness says whether a state is fresh, with a shape and a word.
func freshness(fresh bool) template.HTML {
	p := words.Fresh(fresh)
	return `<span class="badge ` + template.HTML(toneClass(p.Tone)) + `">` + icon(p.Tone) + template.HTML(template.HTMLEscapeString(p.Text)) + `</span>`
}

// capital begins a text with a capital letter.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// toned shows a text of package words: each tone is a class.
func toned(t words.Text) template.HTML {
	var b strings.Builder
	for _, p := range t {
		text := template.HTMLEscapeString(p.Text)
		if p.Tone != words.Plain {
			text = `<span class="tone-` + template.HTMLEscapeString(string(p.Tone)) + `">` + text + `</span>`
		}
		b.WriteString(text)
	}
	return template.HTML(b.String())
}

// toneClass gives the class of a tone.
func toneClass(t words.Tone) string {
	if t == words.Plain {
		return ""
	}
	return "tone-" + string(t)
}

// linesHTML shows a description of package words, with the same words as the terminal.
func linesHTML(lines []words.Line) template.HTML {
	var b strings.Builder
	b.WriteString(`<div class="lines">`)
	for _, l := range lines {
		switch text := toned(l.Text); {
		case l.Whole && text == "":
			b.WriteString(`<p class="gap"></p>`)
		case l.Whole:
			b.WriteString(`<p class="whole">` + string(text) + `</p>`)
		default:
			fmt.Fprintf(&b, `<p class="step-%d"><span class="label %s">%s</span> <span>%s</span></p>`,
				l.Indent, toneClass(l.LabelTone), template.HTMLEscapeString(l.Label), text)
		}
	}
	b.WriteString(`</div>`)
	return template.HTML(b.String())
}
