package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestW04FewChangesNeverShrink: where the guard does not compare all rows, the comparison would find nothing.
func TestW04FewChangesNeverShrink(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 36))
	row := func(n int) desired.App {
		return desired.App{
			Key:       app.Key{Droplet: app.MustGUID(fmt.Sprintf("app-%03d", n)), Version: app.MustGUID(fmt.Sprintf("v%d", rnd.IntN(2)))},
			Instances: uint32(rnd.IntN(20)), State: []desired.RunState{desired.Started, desired.Started, desired.Stopped}[rnd.IntN(3)], Package: desired.Staged,
		}
	}
	few, shrinks := 0, 0
	for range 20_000 {
		guard := Guard{DesiredShrink: []float64{0.1, 0.3, 0.5, 1}[rnd.IntN(4)], MinApps: rnd.IntN(10)}
		var recorded, apps []desired.App
		meta := raftfsm.DesiredMeta{}
		change := rnd.Float64() * rnd.Float64()
		for n := range rnd.IntN(30) {
			a := row(n)
			if rnd.IntN(10) > 0 {
				recorded = append(recorded, a)
				if a.Wanted() {
					meta.Apps, meta.Instances = meta.Apps+1, meta.Instances+int(a.Instances)
				}
			}
			if rnd.Float64() < change {
				a = row(n)
			}
			if rnd.Float64() >= change/2 {
				apps = append(apps, a)
			}
		}
		read, err := desired.NewRead("test", apps)
		if err != nil {
			t.Fatal(err)
		}
		find := func(k app.Key) (int, desired.App, bool) {
			i := slices.IndexFunc(recorded, func(r desired.App) bool { return r.Key == k })
			return i, append(recorded, desired.App{})[max(i, 0)], i >= 0
		}
		why := guard.Shrinks(slices.Values(recorded), read)
		if why != "" {
			shrinks++
		}
		if guard.few(read.Changes(find, slices.All(recorded)), find, meta) {
			if few++; why != "" {
				t.Fatalf("%+v: %s\nrecorded %v\nread %v", guard, why, recorded, read.Apps)
			}
		}
	}
	if few < 2000 || shrinks < 2000 {
		t.Errorf("of 20,000 reads, %d change few rows and %d shrink: too few to tell", few, shrinks)
	}
}
