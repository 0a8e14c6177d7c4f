package weaknesses

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// interfaces is how many messages and endpoints of the older health managers have a number: N01 to N52.
const interfaces = 52

var (
	numbered = regexp.MustCompile(`^N\d\d `)
	kept     = regexp.MustCompile(`^\*\*(Same|Better|Otherwise|Not needed)(\.)?\*\*`)
)

// TestInterfacesAreKept: docs/compatibility.md has a row for each interface of the older health managers, in order. Each
// says what hm does, and names tests that exist, unless hm needs nothing like it or lacks it.
func TestInterfacesAreKept(t *testing.T) {
	functions := testFunctions(t)
	all := rows(t, "compatibility.md", "interface", 5)
	var have []string
	for _, row := range all {
		if id := numbered.FindString(row[0]); id != "" {
			have = append(have, id[:3])
		}
		verdict := kept.FindStringSubmatch(row[3])
		if verdict == nil {
			t.Errorf("%.60s…: hm's cell begins with none of the verdicts: %.40s", row[0], row[3])
			continue
		}
		named := proofs(t, functions, row[0], row[4])
		if may := verdict[1] == "Not needed"; named == 0 && (!may || row[4] != "–") {
			t.Errorf("%.60s…: no test is named", row[0])
		}
	}
	var want []string
	for n := range interfaces {
		want = append(want, fmt.Sprintf("N%02d", n+1))
	}
	if !slices.Equal(have, want) {
		t.Errorf("rows for %v, want N01 to N%d in order", have, interfaces)
	}
	if len(all) < interfaces+10 {
		t.Errorf("%d rows: configuration and metrics have rows, too", len(all))
	}
}
