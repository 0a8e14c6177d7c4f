package dashboard

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTheMapShowsEveryDEAOnce: the runs cover each cell once, in its state, whatever the states are.
func TestTheMapShowsEveryDEAOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 19, 20, 21, 400, 10_000, maxMapped} {
		for _, sick := range []float64{0, 0.001, 0.1, 1} {
			cells := make([]mapCell, n)
			for i := range cells {
				cells[i].id = fmt.Sprintf("dea-%05d", i)
				if rnd.Float64() < sick {
					cells[i].state = deaState(rnd.IntN(int(deaStates)))
				}
			}
			m := mapOf(cells, n)
			shown := make([]string, m.Columns*m.Rows)
			for _, r := range m.Runs {
				if r.W <= 0 || r.X+r.W > m.Width || r.Y >= m.Height {
					t.Fatalf("%d DEAs: a run is outside of the map: %+v", n, r)
				}
				for x := r.X; x < r.X+r.W; x += mapUnit {
					at := &shown[r.Y/mapUnit*m.Columns+x/mapUnit]
					if *at != "" {
						t.Fatalf("%d DEAs: two runs at %d, %d", n, x, r.Y)
					}
					*at = r.State
				}
			}
			counted := 0
			for i, state := range shown {
				want := ""
				if i < n {
					want = cells[i].state.String()
				}
				if state != want {
					t.Fatalf("%d DEAs: cell %d is shown as %q, want %q", n, i, state, want)
				}
			}
			for _, l := range m.Legend {
				counted += l.Count
			}
			if counted != n {
				t.Errorf("the legend counts %d of %d DEAs", counted, n)
			}
			if len(m.Links) > maxMapLinks {
				t.Errorf("%d links", len(m.Links))
			}
		}
	}
}

// TestALargeHealthyMapIsSmall: a run a row.
func TestALargeHealthyMapIsSmall(t *testing.T) {
	m := mapOf(make([]mapCell, 10_000), 10_000)
	if len(m.Runs) != m.Rows || m.Rows > 80 {
		t.Errorf("%d runs in %d rows", len(m.Runs), m.Rows)
	}
}
