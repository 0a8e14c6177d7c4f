package fleet

import "testing"

// TestAFailedEndpointIsLeft: a DEA whose endpoint does not answer posts its next heartbeat to another one.
func TestAFailedEndpointIsLeft(t *testing.T) {
	for _, urls := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
		p := &poster{conn: &connection{fleet: &Fleet{opts: Options{Post: &Posting{URLs: urls}}}}}
		seen := map[string]bool{}
		for range 100 {
			before := p.url
			p.choose()
			if seen[p.url] = true; p.url == before && len(urls) > 1 {
				t.Fatalf("of %v it stays with %s", urls, before)
			}
		}
		if len(seen) != len(urls) {
			t.Errorf("of %v it uses %v", urls, seen)
		}
	}
}
