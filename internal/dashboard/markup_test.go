package dashboard_test

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"hm/internal/dashboard"
)

// TestMarkupIsStrict checks the HTML of every page in every state: it is nested properly, ids are unique, fields have
// labels, headings descend in steps, nothing comes from another host, and nothing needs what the security policy forbids.
func TestMarkupIsStrict(t *testing.T) {
	nodes := states()
	nodes["hostile"] = hostileNode()
	for name, node := range nodes {
		base := serve(t, node.Options(), dashboard.Options{Sandbox: &fakeSandbox{}})
		for _, path := range append(pages, "/sandbox", "/nothing", "/events?kind=nonsense", "/events?app=%3Cscript%3E&kind=hold") {
			_, body := load(t, base+path, "Accept", "text/html")
			for _, complaint := range complaints(body, base) {
				t.Errorf("%s in state %s: %s", path, name, complaint)
			}
		}
	}
}

// TestHostileNamesAreText shows names that are markup. They must be shown, and be no markup.
func TestHostileNamesAreText(t *testing.T) {
	base := serve(t, hostileNode().Options(), dashboard.Options{})
	shown := 0
	for _, path := range pages {
		_, body := load(t, base+path)
		for _, bad := range []string{"<script>alert", "<img/src", `onclick="alert`, `href="javascript:`} {
			if strings.Contains(body, bad) {
				t.Errorf("%s contains %s", path, bad)
			}
		}
		shown += strings.Count(body, "&lt;script&gt;alert(1)")
		for _, complaint := range complaints(body, base) {
			t.Errorf("%s: %s", path, complaint)
		}
	}
	if shown < 10 {
		t.Errorf("the hostile names are shown %d times, want at least 10: the test looks at the wrong pages", shown)
	}
}

// TestComplaintsFindFaults holds that the strict check finds each kind of fault.
func TestComplaintsFindFaults(t *testing.T) {
	page := func(body string) string {
		return `<!doctype html><html lang="en"><head><title>t</title></head><body><h1>t</h1>` + body + `</body></html>`
	}
	for want, body := range map[string]string{
		"":                         `<p id="a"><a href="/x">x</a></p><label>l <input></label>`,
		"unique":                   `<p id="a"></p><p id="a"></p>`,
		"closes":                   `<p><b></p></b>`,
		"closes html > body > div": `<div><span></span>`,
		"has no label":             `<input name="q">`,
		"has no text":              `<button></button>`,
		"follows h1":               `<h3>x</h3>`,
		"h1 elements":              `<h1>x</h1>`,
		"another host":             `<img alt="" src="https://example.org/x.png">`,
		"attribute style":          `<p style="color: red">x</p>`,
		"attribute onclick":        `<p onclick="x()">x</p>`,
		"inline script":            `<script>x()</script>`,
		"refers to":                `<p aria-labelledby="nobody">x</p>`,
		"neither header nor scope": `<table><tr><th>x</th></tr></table>`,
	} {
		found := strings.Join(complaints(page(body), "http://127.0.0.1:1"), "; ")
		if (want == "") != (found == "") || !strings.Contains(found, want) {
			t.Errorf("%s: got %q, want %q", body, found, want)
		}
	}
}

// complaints gives what is wrong with a page.
func complaints(page, base string) []string {
	found := badNesting(page)
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return append(found, err.Error())
	}
	c := checker{base: base, ids: map[string]int{}, labelled: map[string]bool{}}
	c.collect(doc)
	c.check(doc)
	for id, n := range c.ids {
		if n > 1 {
			c.say("id %q is not unique", id)
		}
	}
	if c.titles != 1 {
		c.say("the page has %d h1 elements", c.titles)
	}
	return append(found, c.found...)
}

// badNesting finds end tags that do not close the newest open element, and elements that are not closed.
func badNesting(page string) (found []string) {
	void := strings.Fields("area base br col embed hr img input link meta source track wbr")
	var open []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			for _, name := range open {
				found = append(found, name+" is not closed")
			}
			return found
		case html.StartTagToken:
			name, _ := tokens.TagName()
			if !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := tokens.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				return append(found, "</"+string(name)+"> closes "+strings.Join(open, " > "))
			}
			open = open[:len(open)-1]
		}
	}
}

// checker walks over the elements of a page.
type checker struct {
	base     string
	ids      map[string]int
	labelled map[string]bool // ids that a label names
	heading  int             // of the newest heading
	titles   int
	found    []string
}

func (c *checker) say(format string, args ...any) {
	c.found = append(c.found, sprintf(format, args...))
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func (c *checker) collect(n *html.Node) {
	if n.Type == html.ElementNode {
		if id, ok := attribute(n, "id"); ok {
			c.ids[id]++
		}
		if of, ok := attribute(n, "for"); ok && n.DataAtom == atom.Label {
			c.labelled[of] = true
		}
	}
	for child := range n.ChildNodes() {
		c.collect(child)
	}
}

func (c *checker) check(n *html.Node) {
	if n.Type == html.ElementNode {
		c.element(n)
	}
	for child := range n.ChildNodes() {
		c.check(child)
	}
}

func (c *checker) element(n *html.Node) {
	for _, a := range n.Attr {
		switch {
		case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
			c.say("%s has the attribute %s, which the policy forbids", n.Data, a.Key)
		case a.Key == "src" || a.Key == "href" || a.Key == "action":
			c.address(n, a.Val)
		case a.Key == "aria-labelledby" || a.Key == "for":
			if c.ids[a.Val] == 0 {
				c.say("%s refers to id %q, which does not exist", n.Data, a.Val)
			}
		}
	}
	switch n.DataAtom {
	case atom.Script:
		if _, external := attribute(n, "src"); !external {
			if kind, _ := attribute(n, "type"); kind != "application/json" {
				c.say("there is an inline script")
			}
		}
	case atom.Input, atom.Select, atom.Textarea:
		kind, _ := attribute(n, "type")
		id, _ := attribute(n, "id")
		if kind != "hidden" && !c.labelled[id] && !inside(n, atom.Label) {
			c.say("%s %q has no label", n.Data, id)
		}
	case atom.Button, atom.A, atom.Summary:
		if label, _ := attribute(n, "aria-label"); label == "" && strings.TrimSpace(text(n)) == "" {
			c.say("%s has no text", n.Data)
		}
	case atom.Th:
		if _, ok := attribute(n, "scope"); !ok {
			c.say("a cell of a table is neither header nor scope: %s", text(n))
		}
	case atom.H1, atom.H2, atom.H3, atom.H4:
		if inside(n, atom.Dialog) {
			return
		}
		level := int(n.Data[1] - '0')
		if level == 1 {
			c.titles++
		}
		if level > c.heading+1 {
			c.say("heading %s %q follows h%d", n.Data, text(n), c.heading)
		}
		c.heading = level
	}
}

func (c *checker) address(n *html.Node, value string) {
	u, err := url.Parse(value)
	if err != nil {
		c.say("%s has the address %q: %v", n.Data, value, err)
		return
	}
	if u.Host != "" && n.DataAtom != atom.A || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		c.say("%s loads %q from another host", n.Data, value)
	}
}

func inside(n *html.Node, a atom.Atom) bool {
	for p := range n.Ancestors() {
		if p.DataAtom == a {
			return true
		}
	}
	return false
}

func text(n *html.Node) string {
	var b bytes.Buffer
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// TestOneShortScript holds that the pages have one hand-written script of less than 400 lines, and that no asset refers
// to another host.
func TestOneShortScript(t *testing.T) {
	files, err := fs.Glob(os.DirFS("assets"), "*")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, name := range files {
		raw, err := os.ReadFile("assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		content := string(raw)
		if strings.HasSuffix(name, ".js") && !strings.HasPrefix(name, "uplot") {
			lines += strings.Count(content, "\n")
		}
		content = strings.ReplaceAll(content, "http://www.w3.org/2000/svg", "")
		content = strings.ReplaceAll(content, "https://github.com/leeoniya/uPlot", "") // in the licence comment
		if strings.Contains(content, "http://") || strings.Contains(content, "https://") || strings.Contains(content, "url(") {
			t.Errorf("assets/%s refers to another host", name)
		}
	}
	if lines >= 400 {
		t.Errorf("the script has %d lines, at most 399 are allowed", lines)
	}
}
