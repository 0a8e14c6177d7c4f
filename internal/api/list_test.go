package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// mixedFleet has n apps on n/4 DEAs, in which instances are missing, crashed, extra and doubled at random.
func mixedFleet(t *testing.T, n int) *apitest.Node {
	t.Helper()
	w, random := apitest.New(), rand.New(rand.NewPCG(1, uint64(n)))
	var rows []desired.App
	deas := make([]raftfsm.DEAChanges, max(1, n/4))
	for d := range deas {
		deas[d].DEA = fmt.Sprintf("%d-dea", d)
		w.HeardAt[deas[d].DEA] = apitest.Start.Add(-time.Duration(random.IntN(60)) * time.Second)
	}
	guid := 0
	for i := range n {
		row := desired.App{Key: apitest.Key(i+1, 1), Instances: uint32(random.IntN(5)), State: desired.Started, Package: desired.Staged}
		if random.IntN(10) == 0 {
			row.State = desired.Stopped
		}
		rows = append(rows, row)
		for index := range random.IntN(6) {
			guid++
			d := &deas[random.IntN(len(deas))]
			d.Upserts = append(d.Upserts, apitest.Instance(row.Key, guid, uint32(index), actual.State(1+random.IntN(4))))
		}
	}
	w.Desire(apitest.Start, rows...)
	for _, d := range deas {
		w.Must(apitest.Start.Add(time.Second), d)
	}
	w.Must(apitest.Start.Add(2*time.Second), raftfsm.DEAsGone{DEAs: []string{deas[0].DEA}})
	var due []commands.Command
	for i := range n / 2 {
		c := commands.Command{Action: commands.Start, App: rows[2*i].Key, Index: uint32(random.IntN(3)), Reason: commands.ReasonMissing,
			State: commands.Pending, CreatedAt: apitest.Start.Add(3 * time.Second), DueAt: apitest.Start.Add(time.Duration(random.IntN(60)) * time.Second)}
		c.ID = commands.NewID(c)
		due = append(due, c)
	}
	w.Apply(apitest.Start.Add(3*time.Second), raftfsm.CommandsScheduled{Commands: due})
	return w
}

// TestSelectionsArePartsOfTheWholeList: for each list, filter and order, the pages have exactly the items of the whole list
// for which the filter holds, once each, in the order asked for.
func TestSelectionsArePartsOfTheWholeList(t *testing.T) {
	t.Parallel()
	w := mixedFleet(t, 120)
	base := serve(t, w.Options())
	now := w.Now()
	silence := func(d api.DEA) float64 {
		return float64(now.Add(apitest.WallLead).Std().Sub(d.LastHeard.Time))
	}
	t.Run("apps", func(t *testing.T) {
		by := func(f func(api.AppItem) float64) func(api.AppItem) float64 { return f }
		drift := by(func(a api.AppItem) float64 { return float64(a.Drift) })
		for _, c := range []selectionCase[api.AppItem]{
			{query: "filter=drift=missing", fits: func(a api.AppItem) bool { return a.Kinds["missing"] > 0 }},
			{query: "filter=drift=none", fits: func(a api.AppItem) bool { return a.Drift == 0 }},
			{query: "filter=drift!=missing|crashed,drift=any", fits: func(a api.AppItem) bool {
				return a.Drift > 0 && a.Kinds["missing"] == 0 && a.Kinds["crashed"] == 0
			}},
			{query: "filter=findings>2&sort=-drift", fits: func(a api.AppItem) bool { return a.Drift > 2 }, by: func(a api.AppItem) float64 { return -drift(a) }},
			{query: "sort=drift", by: drift},
			{query: "sort=-app&filter=drift=any", fits: func(a api.AppItem) bool { return a.Drift > 0 }, descendingText: func(a api.AppItem) string { return a.App }},
			{query: "sort=app"},
			{query: "filter=crashed>0,running=0", fits: func(a api.AppItem) bool { return a.Instances.Crashed > 0 && a.Instances.Running == 0 }},
			{query: "filter=desired=STOPPED", fits: func(a api.AppItem) bool { return a.Desired.State == "STOPPED" }},
			{query: "prefix=a000001&sort=-wanted", fits: func(a api.AppItem) bool { return strings.HasPrefix(a.App, "a000001") },
				by: func(a api.AppItem) float64 { return -float64(a.Desired.Instances) }},
			{query: "prefix=A000001", fits: func(a api.AppItem) bool { return strings.HasPrefix(a.App, "a000001") }},
			{query: "prefix=zz", fits: func(api.AppItem) bool { return false }},
			{query: "filter=app=*7", fits: func(a api.AppItem) bool { return a.App == "*7" }},
			{query: "filter=bucket=wait,instances<2", fits: func(a api.AppItem) bool {
				return strings.Contains(a.Verdict, "waiting") && a.Instances.Running+a.Instances.Crashed+a.Instances.Evacuating+a.Instances.Starting < 2
			}},
		} {
			c.check(t, base, "/v1/apps", func(a api.AppItem) string { return a.App + a.Version })
		}
	})
	t.Run("drift", func(t *testing.T) {
		for _, c := range []selectionCase[api.DriftItem]{
			{query: "filter=bucket=wait", fits: func(d api.DriftItem) bool { return d.Bucket == "wait" }},
			{query: "filter=dea=3-dea", fits: func(d api.DriftItem) bool { return d.DEA == "3-dea" }},
			{query: "filter=dea=", fits: func(d api.DriftItem) bool { return d.DEA == "" }},
			{query: "filter=index>1,action=start", fits: func(d api.DriftItem) bool { return d.Index > 1 && d.Action == "start" }},
			{query: "filter=reason=MISSING|EXTRA&prefix=a00001", fits: func(d api.DriftItem) bool {
				return (d.Reason == "MISSING" || d.Reason == "EXTRA") && strings.HasPrefix(d.App, "a00001")
			}},
			{query: "filter=rule=R0*", fits: func(d api.DriftItem) bool { return strings.HasPrefix(d.Rule, "R0") }},
			{query: "kind=extra&filter=index=3", fits: func(d api.DriftItem) bool { return d.Kind == "extra" && d.Index == 3 }},
			{query: "sort=-app", descendingText: func(d api.DriftItem) string { return d.App }},
			{query: "filter=due>20s", fits: func(d api.DriftItem) bool {
				return !d.Due.IsZero() && d.Due.Sub(now.Add(apitest.WallLead).Std()) > 20*time.Second
			}},
		} {
			c.check(t, base, "/v1/drift", func(d api.DriftItem) string { return fmt.Sprint(d.App, d.Version, d.Index, d.Instance, d.Kind) })
		}
	})
	t.Run("deas", func(t *testing.T) {
		for _, c := range []selectionCase[api.DEA]{
			{query: "filter=state=gone", fits: func(d api.DEA) bool { return d.State == "gone" }},
			{query: "filter=state!=gone,instances>=10", fits: func(d api.DEA) bool { return d.State != "gone" && d.Count >= 10 }},
			{query: "filter=crashed>0", fits: func(d api.DEA) bool { return d.States.Crashed > 0 }},
			{query: "filter=running>=20", fits: func(d api.DEA) bool { return d.States.Running >= 20 }},
			{query: "sort=-crashed", by: func(d api.DEA) float64 { return -float64(d.States.Crashed) }},
			{query: "sort=-instances", by: func(d api.DEA) float64 { return -float64(d.Count) }},
			{query: "sort=-dea", descendingText: func(d api.DEA) string { return d.DEA }},
			{query: "sort=-silence", by: func(d api.DEA) float64 { return -silence(d) }},
			{query: "filter=silence>20s", fits: func(d api.DEA) bool { return silence(d) > float64(20*time.Second) }},
			{query: "prefix=1", fits: func(d api.DEA) bool { return d.DEA[0] == '1' }},
		} {
			c.check(t, base, "/v1/deas", func(d api.DEA) string { return d.DEA })
		}
	})
	t.Run("commands", func(t *testing.T) {
		for _, c := range []selectionCase[api.Command]{
			{query: "filter=index=1", fits: func(c api.Command) bool { return c.Index == 1 }},
			{query: "sort=due", by: func(c api.Command) float64 { return float64(c.DueAt.UnixMilli()) }},
			{query: "sort=-due&filter=action=start", by: func(c api.Command) float64 { return -float64(c.DueAt.UnixMilli()) }},
			{query: "prefix=a", fits: func(c api.Command) bool { return c.ID[0] == 'a' }},
			{query: "filter=due<0s", fits: func(c api.Command) bool { return c.DueAt.Before(now.Add(apitest.WallLead).Std()) }},
			{query: "filter=state=sent", fits: func(c api.Command) bool { return c.State == "sent" }},
		} {
			c.check(t, base, "/v1/commands", func(c api.Command) string { return c.ID })
		}
	})
}

// selectionCase is a query, and what it should give of the whole list.
type selectionCase[T any] struct {
	query          string
	fits           func(T) bool    // nil: all
	by             func(T) float64 // nil: the list's own order
	descendingText func(T) string
}

func (c selectionCase[T]) check(t *testing.T, base, path string, id func(T) string) {
	t.Helper()
	query := ""
	for _, pair := range strings.Split(c.query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		query += "&" + name + "=" + url.QueryEscape(value)
	}
	whole, _ := pages[T](t, base, path, nil)
	want := slices.DeleteFunc(slices.Clone(whole), func(item T) bool { return c.fits != nil && !c.fits(item) })
	if c.by != nil {
		slices.SortStableFunc(want, func(a, b T) int { return cmp.Compare(c.by(a), c.by(b)) })
	}
	if c.descendingText != nil {
		slices.SortStableFunc(want, func(a, b T) int { return strings.Compare(c.descendingText(b), c.descendingText(a)) })
	}
	for _, limit := range []int{1000, 7} {
		got, n := pages[T](t, base, fmt.Sprintf("%s?limit=%d%s", path, limit, query), nil)
		if n > 1 && len(got) <= limit {
			t.Errorf("%s?%s: %d pages for %d items", path, c.query, n, len(got))
		}
		x, _ := json.Marshal(got)
		y, _ := json.Marshal(want)
		if len(got) != len(want) || string(x) != string(y) && len(want) > 0 {
			t.Errorf("%s?%s, limit %d: %d items, want %d of %d", path, c.query, limit, len(got), len(want), len(whole))
			for i := range min(len(got), len(want)) {
				if id(got[i]) != id(want[i]) {
					t.Errorf("item %d is %s, want %s", i, id(got[i]), id(want[i]))
					break
				}
			}
		}
	}
	t.Logf("%s?%s: %d of %d", path, c.query, len(want), len(whole))
}

// TestASelectionGoesOnAfterItWasDropped continues listings whose selection is no longer kept.
func TestASelectionGoesOnAfterItWasDropped(t *testing.T) {
	w := mixedFleet(t, 120)
	s, err := api.Open(w.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	base := "http://" + s.Addr()
	for _, path := range []string{"/v1/apps?sort=-drift&filter=drift=any", "/v1/apps?sort=-app", "/v1/deas?sort=-silence", "/v1/commands?sort=-due", "/v1/drift?sort=-kind&filter=index<9"} {
		whole, _ := pages[json.RawMessage](t, base, path+"&limit=10000", nil)
		parts, n := pages[json.RawMessage](t, base, path+"&limit=7", s.DropSelections)
		if n < 3 || fmt.Sprintf("%s", parts) != fmt.Sprintf("%s", whole) {
			t.Errorf("%s: %d items on %d pages differ from %d on one", path, len(parts), n, len(whole))
		}
	}
}

// TestACursorBelongsToItsFilter: a cursor with another filter or order would leave items out without a word.
func TestACursorBelongsToItsFilter(t *testing.T) {
	base := serve(t, mixedFleet(t, 40).Options())
	for _, path := range []string{"/v1/apps", "/v1/deas", "/v1/drift", "/v1/commands"} {
		resp, _ := ask(t, "GET", base+path+"?limit=2&sort=-"+map[string]string{"/v1/apps": "drift", "/v1/deas": "instances", "/v1/drift": "kind", "/v1/commands": "due"}[path], "")
		cursor := resp.Header.Get("X-Hm-Next-Cursor")
		if cursor == "" {
			t.Fatalf("%s has one page", path)
		}
		for _, query := range []string{"", "&prefix=a"} {
			if resp, raw := ask(t, "GET", base+path+"?limit=2&cursor="+cursor+query, ""); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s%s with the cursor of another order: %d %.80s", path, query, resp.StatusCode, raw)
			}
		}
	}
}

// TestPagesOfTheClient reads lists item by item.
func TestPagesOfTheClient(t *testing.T) {
	c, err := api.NewClient(api.ClientOptions{Addr: serve(t, missing(500).Options())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []struct {
		limit, size, items int
		leftOut            bool
	}{{0, 100, 500, false}, {250, 100, 250, true}, {500, 100, 500, false}, {0, 10_000, 500, false}, {1, 7, 1, true}} {
		p := c.AppPages(api.ListOptions{Filter: "drift=missing", Sort: "-drift", Limit: want.limit})
		p.SetSize(want.size)
		n := 0
		for a, err := range p.All(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if a.Kinds["missing"] != 1 {
				t.Fatalf("%+v is not missing", a)
			}
			n++
		}
		if n != want.items || p.LeftOut() != want.leftOut || p.Total != 500 || p.Basis.Leader != "hm-1" {
			t.Errorf("limit %d: %d items, left out %v, total %d", want.limit, n, p.LeftOut(), p.Total)
		}
	}
	p := c.HoldPages(api.ListOptions{Filter: "nme=x"})
	if _, err := p.Next(context.Background()); err == nil || !strings.Contains(err.Error(), `no field "nme"`) {
		t.Errorf("a wrong filter gives %v", err)
	}
}
