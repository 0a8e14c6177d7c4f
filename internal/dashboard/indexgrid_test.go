package dashboard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
)

// letters gives the letters of a grid's cells; a command for an index is a + after it.
func letters(g Grid) string {
	var b strings.Builder
	for _, c := range g.Cells {
		b.WriteString(c.Letter)
		if c.Sends {
			b.WriteString("+")
		}
	}
	return b.String()
}

func TestGrid(t *testing.T) {
	inst := func(index uint32, state string) api.Instance {
		return api.Instance{Index: index, State: state, DEA: "dea-1"}
	}
	drift := func(index uint32, kind string) api.DriftItem { return api.DriftItem{Index: index, Kind: kind} }
	started := func(n uint32) *api.Desired {
		return &api.Desired{State: "STARTED", PackageState: "STAGED", Instances: n}
	}
	for _, c := range []struct {
		name string
		v    api.AppVersion
		want string
	}{
		{"as desired", api.AppVersion{Desired: started(2), Instances: []api.Instance{inst(0, "RUNNING"), inst(1, "STARTING")}}, "RS"},
		{"missing, with a start that waits", api.AppVersion{
			Desired: started(3), Instances: []api.Instance{inst(0, "RUNNING")},
			Drift:    []api.DriftItem{drift(1, "missing"), drift(2, "missing")},
			Commands: []api.Command{{Index: 1, Action: "start", State: "pending"}},
		}, "RM+M"},
		{"crashed", api.AppVersion{Desired: started(1), Instances: []api.Instance{inst(0, "CRASHED")}, Drift: []api.DriftItem{drift(0, "crashed")}}, "C"},
		{"crashed once, and another instance runs", api.AppVersion{Desired: started(1), Instances: []api.Instance{inst(0, "CRASHED"), inst(0, "RUNNING")}}, "R"},
		{"evacuating", api.AppVersion{Desired: started(1), Instances: []api.Instance{inst(0, "EVACUATING")}, Drift: []api.DriftItem{drift(0, "evacuating")}}, "E"},
		{"two at one index", api.AppVersion{
			Desired: started(1), Instances: []api.Instance{inst(0, "RUNNING"), inst(0, "RUNNING")}, Drift: []api.DriftItem{drift(0, "duplicate")},
		}, "D"},
		{"out of range", api.AppVersion{
			Desired: started(1), Instances: []api.Instance{inst(0, "RUNNING"), inst(7, "RUNNING")}, Drift: []api.DriftItem{drift(7, "extra")},
		}, "RX"},
		{"not desired at all", api.AppVersion{Instances: []api.Instance{inst(3, "RUNNING")}, Drift: []api.DriftItem{drift(3, "undesired")}}, "U"},
		{"an unknown state", api.AppVersion{Desired: started(1), Instances: []api.Instance{inst(0, "UNKNOWN")}}, "?"},
		{"a state of a later version", api.AppVersion{Desired: started(1), Instances: []api.Instance{inst(0, "SLEEPING")}}, "?"},
		{"desired, being staged", api.AppVersion{Desired: &api.Desired{State: "STARTED", PackageState: "PENDING", Instances: 2}}, "··"},
		{"stopped", api.AppVersion{Desired: &api.Desired{State: "STOPPED", Instances: 2}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gridOf(api.Basis{}, c.v, factsOf(c.v), 0)
			if got := letters(g); got != c.want {
				t.Errorf("shows %s, want %s", got, c.want)
			}
			n := 0
			for _, l := range g.Legend {
				n += l.Count
			}
			if n != len(g.Cells) {
				t.Errorf("the legend counts %d of %d cells", n, len(g.Cells))
			}
		})
	}
}

// TestAGridOfALargeAppIsAWindow: whatever index is asked for, the window has it, and the bands sum up all indices.
func TestAGridOfALargeAppIsAWindow(t *testing.T) {
	v := api.AppVersion{Desired: &api.Desired{State: "STARTED", Instances: 20_000}}
	for i := range uint32(20_000) {
		if i%5000 == 4711 {
			v.Drift = append(v.Drift, api.DriftItem{Index: i, Kind: "missing"})
			continue
		}
		v.Instances = append(v.Instances, api.Instance{Index: i, State: "RUNNING", DEA: "dea-1"})
	}
	facts := factsOf(v)
	for _, from := range []uint32{0, 1, 399, 400, 4711, 19_999, 50_000} {
		g := gridOf(api.Basis{}, v, facts, from)
		if len(g.Cells) != gridWindow || len(g.Bands) != 50 || g.Total != 20_000 {
			t.Fatalf("%d cells, %d bands, %d in all", len(g.Cells), len(g.Bands), g.Total)
		}
		if want := min(from, 19_999); g.First > want || g.Last < want {
			t.Errorf("index %d is not from %d to %d", want, g.First, g.Last)
		}
		off, here := 0, 0
		for _, b := range g.Bands {
			off += b.Off
			if b.Here {
				here++
				if b.First != g.First || b.Last != g.Last {
					t.Errorf("the band that is marked is not the window: %+v", b)
				}
			}
			if (b.Off > 0) != (b.State == "missing") {
				t.Errorf("a band with %d missing is shown as %s", b.Off, b.State)
			}
		}
		if off != 4 || here != 1 {
			t.Errorf("%d off, %d bands are the window", off, here)
		}
	}
}

// TestACellTellsWhatItIs: without its colour and its letter.
func TestACellTellsWhatItIs(t *testing.T) {
	now := api.Timestamp{Time: stripNow}
	v := api.AppVersion{
		Desired: &api.Desired{State: "STARTED", Instances: 2},
		Instances: []api.Instance{
			{Index: 0, State: "RUNNING", DEA: "dea-7", RecordedAt: api.Timestamp{Time: stripNow.Add(-90 * time.Second)}},
		},
		Drift: []api.DriftItem{{Index: 1, Kind: "missing", Detail: "no instance is live at the index, start in 12s"}},
	}
	g := gridOf(api.Basis{At: now}, v, factsOf(v), 0)
	got := fmt.Sprint(g.Cells[0].Label, "; ", g.Cells[1].Label)
	want := "index 0: running on dea-7, recorded 1m30s ago; index 1: missing, no instance is live at the index, start in 12s"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
