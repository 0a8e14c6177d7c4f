package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hm/internal/sim/wire"
)

var start = time.Date(2014, 6, 1, 12, 0, 0, 0, time.UTC)

func route(instance string, port uint16, uris ...string) wire.Route {
	return wire.Route{App: "app", URIs: uris, Host: "10.0.0.1", Port: port, Instance: instance}
}

func addresses(t *table, now time.Time) []string {
	var all []string
	for _, r := range t.all("", 1<<30, now) {
		all = append(all, r.URI+" "+r.Address+" "+r.Instance)
	}
	return all
}

// TestStaleRoutesArePruned: a route goes a threshold after it was registered last, its own or the router's, whichever is
// shorter.
func TestStaleRoutesArePruned(t *testing.T) {
	table := newTable(120 * time.Second)
	table.register(route("i1", 1, "a"), start)
	short := route("i2", 2, "a")
	short.StaleSeconds = 30
	table.register(short, start)
	long := route("i3", 3, "a")
	long.StaleSeconds = 600
	table.register(long, start.Add(time.Second))
	for _, step := range []struct {
		after time.Duration
		want  []string
	}{
		{30 * time.Second, []string{"a 10.0.0.1:1 i1", "a 10.0.0.1:2 i2", "a 10.0.0.1:3 i3"}},
		{31 * time.Second, []string{"a 10.0.0.1:1 i1", "a 10.0.0.1:3 i3"}},
		{121 * time.Second, []string{"a 10.0.0.1:3 i3"}},
		{122 * time.Second, nil},
	} {
		now := start.Add(step.after)
		table.prune(now)
		if got := addresses(table, now); !slices.Equal(got, step.want) {
			t.Errorf("after %s: %q, want %q", step.after, got, step.want)
		}
	}
	if table.count != 0 || len(table.pools) != 0 {
		t.Errorf("an empty table has %d endpoints and %d names", table.count, len(table.pools))
	}
}

// TestFreshenGivesAWholeThreshold: after freshen, nothing is stale for a whole threshold.
func TestFreshenGivesAWholeThreshold(t *testing.T) {
	table := newTable(120 * time.Second)
	table.register(route("i1", 1, "a"), start)
	back := start.Add(time.Hour)
	table.freshen(back)
	if n := table.prune(back.Add(120 * time.Second)); n != 0 {
		t.Errorf("%d routes were removed", n)
	}
	if n := table.prune(back.Add(121 * time.Second)); n != 1 {
		t.Errorf("%d routes were removed", n)
	}
}

// TestALateUnregisterKeepsTheNewInstance: a message about an instance that had the port before removes nothing.
func TestALateUnregisterKeepsTheNewInstance(t *testing.T) {
	table := newTable(time.Minute)
	table.register(route("old", 1, "a", "b"), start)
	table.register(route("new", 1, "a"), start)
	table.unregister(route("old", 1, "a", "b"))
	if got := addresses(table, start); !slices.Equal(got, []string{"a 10.0.0.1:1 new"}) {
		t.Errorf("%q", got)
	}
	table.unregister(route("", 1, "a")) // an old DEA names no instance
	if got := addresses(table, start); got != nil {
		t.Errorf("%q", got)
	}
}

// TestEndpointsTakeTurns: endpoints take turns; one that failed is passed over for a quarter of the threshold, unless
// all failed.
func TestEndpointsTakeTurns(t *testing.T) {
	table := newTable(120 * time.Second)
	for port := range uint16(3) {
		table.register(route(fmt.Sprint("i", port+1), port+1, "a"), start)
	}
	picks := func(n int, now time.Time) (got string) {
		for range n {
			e, ok := table.pick("a", now)
			if !ok {
				t.Fatal("no endpoint")
			}
			got += e.addr[len(e.addr)-1:]
		}
		return got
	}
	if got := picks(6, start); got != "123123" {
		t.Errorf("turns %s", got)
	}
	table.fail("a", "10.0.0.1:2", start)
	if got := picks(4, start); got != "1313" {
		t.Errorf("with a failed one: %s", got)
	}
	if got := picks(3, start.Add(31*time.Second)); got != "123" {
		t.Errorf("after a quarter of the threshold: %s", got)
	}
	for port := range 3 {
		table.fail("a", fmt.Sprintf("10.0.0.1:%d", port+1), start)
	}
	if got := picks(3, start); got != "123" {
		t.Errorf("when all failed: %s", got)
	}
	if _, ok := table.pick("b", start); ok {
		t.Error("an unknown name has an endpoint")
	}
}

// TestTableAgainstAModel: after any messages, the table has what a plain map of the last messages has.
func TestTableAgainstAModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		table := newTable(100 * time.Second)
		type key struct{ uri, addr string }
		type entry struct {
			instance string
			heard    time.Time
		}
		model := map[key]entry{}
		now := start
		for range 300 {
			now = now.Add(time.Duration(rng.IntN(10)) * time.Second)
			r := route(fmt.Sprint("i", rng.IntN(4)), uint16(1+rng.IntN(4)), fmt.Sprint("u", rng.IntN(3)))
			k := key{r.URIs[0], addrOf(r)}
			switch rng.IntN(10) {
			case 0:
				table.unregister(r)
				if model[k].instance == r.Instance {
					delete(model, k)
				}
			case 1:
				table.prune(now)
				for k, e := range model {
					if now.Sub(e.heard) > 100*time.Second {
						delete(model, k)
					}
				}
			case 2:
				if rng.IntN(4) == 0 {
					table.freshen(now)
					for k, e := range model {
						model[k] = entry{e.instance, now}
					}
				}
			default:
				table.register(r, now)
				model[k] = entry{r.Instance, now}
			}
			names := map[string]bool{}
			for k := range model {
				names[k.uri] = true
			}
			all := table.all("", 1<<30, now)
			if len(all) != len(model) || table.count != len(model) || len(table.pools) != len(names) {
				t.Fatalf("seed %d: table %+v, model %+v", seed, all, model)
			}
			for _, r := range all {
				if e := model[key{r.URI, r.Address}]; e.instance != r.Instance || !e.heard.Equal(r.Heard) {
					t.Fatalf("seed %d: table %+v, model %+v", seed, r, e)
				}
			}
		}
	}
}

// TestRoutesArePaged: a page ends after a whole name.
func TestRoutesArePaged(t *testing.T) {
	table := newTable(time.Minute)
	for i := range 10 {
		table.register(route("i", uint16(i+1), fmt.Sprint("u", i/2)), start)
	}
	var got []Route
	for after := ""; ; {
		page := table.all(after, 3, start)
		if len(page) == 0 {
			break
		}
		if len(page) > 4 {
			t.Errorf("a page of %d", len(page))
		}
		got, after = append(got, page...), page[len(page)-1].URI
	}
	if len(got) != 10 {
		t.Errorf("%d routes", len(got))
	}
}
