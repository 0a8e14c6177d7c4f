package weaknesses

import "testing"

// TestOutagesAreProved: every row of docs/degraded.md names tests that exist.
func TestOutagesAreProved(t *testing.T) {
	functions := testFunctions(t)
	all := rows(t, "degraded.md", "outage", 5)
	for _, row := range all {
		if proofs(t, functions, row[0], row[4]) == 0 {
			t.Errorf("%.60s…: no test is named", row[0])
		}
	}
	if len(all) < 40 {
		t.Errorf("%d rows, want at least 40", len(all))
	}
}
