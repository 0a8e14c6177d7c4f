//go:build !race

package browsertest

import (
	"strings"
	"testing"

	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/internal/words"
)

// TestAppPageExplainsAsTheTerminal holds that the page of an app has every line of hm explain, word for word.
func TestAppPageExplainsAsTheTerminal(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	b := openTab(t, base, desktop)
	c := client(t, base)
	for name, k := range map[string]app.Key{
		"steady": apitest.Steady, "gappy": apitest.Gappy, "crashy": apitest.Crashy, "extra": apitest.Extra, "double": apitest.Double,
		"gone": apitest.Gone, "leaving": apitest.Leaving, "staging": apitest.Staging, "moved": apitest.Moved,
	} {
		guid := k.Droplet.String()
		b.visit("/apps/" + guid)
		e, _, err := c.Explain(t.Context(), guid, "")
		if err != nil {
			t.Fatal(err)
		}
		var lacks []string
		page := strings.Join(strings.Fields(b.text("main")), " ")
		for line := range strings.Lines(words.Print(words.Explanation(e, words.ExplainOptions{}), nil)) {
			if line = strings.Join(strings.Fields(line), " "); !strings.Contains(page, line) {
				lacks = append(lacks, line)
			}
		}
		if len(lacks) > 0 {
			t.Errorf("the page of the %s app lacks these lines of hm explain: %q\nIt says: %s", name, lacks, page)
		}
	}
}
