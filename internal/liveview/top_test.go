package liveview

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"hm/internal/api"
	"hm/internal/words"
)

const (
	app1 = "11111111-1111-4111-8111-111111111111"
	app2 = "22222222-2222-4222-8222-222222222222"
)

func members(states ...string) []api.ClusterNode {
	var all []api.ClusterNode
	for i, s := range states {
		n := api.ClusterNode{ID: fmt.Sprintf("hm-%d", i), Address: fmt.Sprintf("10.0.0.%d:7140", i+1), State: s, Voter: true,
			Healthy: s != "unreachable", API: fmt.Sprintf("10.0.0.%d:5155", i+1), Version: "v1.4.0"}
		if n.Healthy {
			n.NATS, n.AppliedIndex, n.Hears, n.Gate = some(true), some(uint64(48213)), some(120), "not-leader"
		}
		if s == "leader" {
			n.Gate = "open"
		}
		all = append(all, n)
	}
	return all
}

// steady returns what hm top knows of a cluster without drift.
func steady() Frame {
	f := Frame{
		Title: "hm top", Now: noon, By: "amy@desk",
		Source: &Source{Addr: "http://10.0.0.1:5155", Every: 2 * time.Second, At: noon, Now: noon.Add(time.Second), Began: noon.Add(-time.Hour), Addrs: 1},
		Status: &api.Status{
			Node: "hm-0", Version: "v1.4.0", Cluster: api.Cluster{Leader: "hm-0", Term: 7, Nodes: members("leader", "follower", "follower")},
			Gate:    api.Gate{Open: true, Reasons: []string{}, Since: ago(5 * time.Hour)},
			NATS:    api.NATS{Connected: true, Server: "10.0.1.1:4222", Since: ago(5 * time.Hour), Lag: some(0.001)},
			Desired: api.DesiredStatus{Fresh: true, Source: "bulk http://cc.internal:8181", Apps: 2400, Instances: 6100, SyncedAt: ago(21 * time.Second)},
			Actual:  api.ActualStatus{Fresh: true, DEAs: 120, Instances: 6100, Running: 6100},
			Hash:    "7ff25e8d47a4fefb29bcba1b1e4c194d",
			Basis:   api.Basis{Index: 48213, Leader: "hm-0", Node: "hm-0", At: api.Timestamp{Time: noon}},
		},
		Apps: List[api.AppItem]{At: noon, Items: []api.AppItem{}, Total: 0},
		DEAs: List[api.DEA]{At: noon, Items: []api.DEA{}, Total: 0},
		Happened: []Event{
			{At: noon.Add(-21 * time.Second), ID: "9", Kind: "desired.read", Tone: words.Faint, Text: "2400 apps with 6100 instances are desired: 1 added, 0 changed, 0 removed"},
			{At: noon.Add(-time.Hour), ID: "8", Kind: "hold.released", Tone: words.Good, Text: "paused by amy@desk"},
		},
	}
	f.Rates = NewRates(10 * time.Second)
	for i, sent := range []int{0, 0, 1, 0, 0, 0, 2, 0, 0} {
		at := noon.Add(time.Duration(i-8) * 10 * time.Second)
		f.Rates = f.Rates.Add(at, sent, sent, 0)
		f.Drift = f.Drift.Add(api.DriftCounts{Missing: sent})
	}
	return f
}

// outage returns a frame in the middle of a NATS outage.
func outage() Frame {
	f := steady()
	s := f.Status
	s.Gate = api.Gate{Reasons: []string{"nats-down", "actual-stale"}, Since: ago(95 * time.Second)}
	s.NATS = api.NATS{Server: "10.0.1.1:4222", Since: ago(95 * time.Second), Outages: 1, Error: "dial tcp 10.0.1.1:4222: connect: connection refused"}
	for i := range s.Cluster.Nodes {
		s.Cluster.Nodes[i].NATS, s.Cluster.Nodes[i].Gate = some(false), "nats-down"
	}
	s.Actual.Fresh = false
	s.Queue = api.Queue{Apps: 3, Waiting: 3, Since: ago(90 * time.Second), ByCause: map[string]int{"nats-down": 3, "actual-stale": 3}}
	f.Happened = append([]Event{
		{At: noon.Add(-94 * time.Second), ID: "12", Kind: "gate.closed", Tone: words.Bad, Text: "hm-0: the gate is closed: nats-down, actual-stale"},
		{At: noon.Add(-95 * time.Second), ID: "11", Kind: "link.lost", Tone: words.Bad, Text: "hm-2: the link to NATS is down"},
		{At: noon.Add(-95 * time.Second), ID: "10", Kind: "link.lost", Tone: words.Bad, Text: "hm-1: the link to NATS is down"},
	}, f.Happened...)
	return f
}

// massLoss returns a frame of a cluster that holds because a zone is gone.
func massLoss() Frame {
	f := steady()
	s := f.Status
	s.Gate = api.Gate{Reasons: []string{"hold:mass-loss"}, Since: ago(40 * time.Second)}
	s.Holds = []api.Hold{{Name: "mass-loss", Reason: "60 of 120 DEAs and 3050 instances were lost within 30s", By: "hm", SetAt: ago(40 * time.Second), Until: ago(-260 * time.Second)}}
	s.Actual.DEAs, s.Actual.GoneDEAs, s.Actual.Instances, s.Actual.Running = 60, 60, 3050, 3050
	s.Drift = api.DriftCounts{Missing: 3050}
	s.Commands = api.CommandsStatus{PendingStarts: 3050, SentStarts: 312}
	s.Queue = api.Queue{Waiting: 1700, Since: ago(10 * time.Second), ByCause: map[string]int{"hold:mass-loss": 1700}}
	for i := range 40 {
		f.Apps.Items = append(f.Apps.Items, api.AppItem{App: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i), Version: app2, Drift: 9 - i/5,
			Kinds: map[string]int{"missing": 9 - i/5}, Desired: &api.Desired{State: "STARTED", PackageState: "STAGED", Instances: 10},
			Instances: api.InstanceCounts{Running: 1 + i/5}, Verdict: fmt.Sprintf("%d off: %d held", 9-i/5, 9-i/5)})
		f.DEAs.Items = append(f.DEAs.Items, api.DEA{DEA: fmt.Sprintf("%d-z2-dea-%02d", i%4, i), State: "gone", GoneAt: ago(time.Duration(41+i%3) * time.Second)})
		f.Happened = append([]Event{{At: noon.Add(-40 * time.Second), ID: fmt.Sprintf("2%d", i), Kind: "dea.lost", Tone: words.Bad, DEA: "x",
			Text: fmt.Sprintf("DEA %d-z2-dea-%02d has been silent for its time to live; it had 51 instances", i%4, i)}}, f.Happened...)
	}
	f.Apps.Total, f.DEAs.Total, f.Apps.More, f.DEAs.More = 1700, 60, true, true
	f.Happened = append([]Event{{At: noon.Add(-40 * time.Second), ID: "70", Kind: "hold.set", Tone: words.Bad, Text: "mass-loss by hm for 5m00s: 60 of 120 DEAs and 3050 instances were lost within 30s"}}, f.Happened...)
	f.Drift = f.Drift.Add(api.DriftCounts{Missing: 3050})
	return f
}

// crashLoop returns a frame of a cluster with an app that crashes again and again.
func crashLoop() Frame {
	f := steady()
	f.Status.Drift = api.DriftCounts{Crashed: 3, Due: 1}
	f.Status.Actual.Running, f.Status.Actual.Crashed = 6097, 3
	f.Status.Queue = api.Queue{Waiting: 1, ByCause: map[string]int{"back-off": 1}}
	f.Status.Commands = api.CommandsStatus{PendingStarts: 3, SentStarts: 41}
	f.Apps.Items = []api.AppItem{{App: app1, Version: app2, Drift: 3, Kinds: map[string]int{"crashed": 3}, Crashes: 27,
		Desired:   &api.Desired{State: "STARTED", PackageState: "STAGED", Instances: 4},
		Instances: api.InstanceCounts{Running: 1, Crashed: 3}, Verdict: "3 off: 1 to start now, 2 waiting"}}
	f.Apps.Total = 1
	f.Commands = []api.Command{
		{ID: "31", Action: "start", App: app1, Version: app2, Index: 0, Reason: "CRASHED", State: "pending", CreatedAt: ago(9 * time.Second), DueAt: ago(-51 * time.Second)},
		{ID: "30", Action: "start", App: app1, Version: app2, Index: 2, Reason: "CRASHED", State: "confirmed", CreatedAt: ago(70 * time.Second), SentAt: ago(20 * time.Second), EndedAt: ago(12 * time.Second), Detail: "an instance is live at the index"},
		{ID: "29", Action: "start", App: app1, Version: app2, Index: 1, Reason: "CRASHED", State: "expired", CreatedAt: ago(90 * time.Second), SentAt: ago(60 * time.Second), EndedAt: ago(30 * time.Second), Detail: "no effect was heard within the grace"},
	}
	for i := range 3 {
		f.Happened = append([]Event{{At: noon.Add(-time.Duration(9-i) * time.Second), ID: fmt.Sprintf("3%d", i), Kind: "instance.crashed", Tone: words.Bad, App: app1,
			Text: fmt.Sprintf("11111111/%d, instance c000000%d on DEA 1-z1-dea-07", i, i)}}, f.Happened...)
	}
	f.Rates = f.Rates.Add(noon.Add(-10*time.Second), 3, 2, 1)
	f.App = Answer[api.Explanation]{Query: Query{Page: PageApp, ID: app1}, Value: &api.Explanation{
		App: app1, Gate: f.Status.Gate, Basis: f.Status.Basis, Reads: api.Reads{Began: ago(21 * time.Second)},
		Versions: []api.ExplainedVersion{{Version: app2, Verdict: "3 off: 1 to start now, 2 waiting",
			Desired: &api.Desired{State: "STARTED", PackageState: "STAGED", Instances: 4},
			Indices: []api.ExplainedIndex{{Index: 0, Crash: &api.CrashRecord{Count: 9, Effective: 9, Last: ago(9 * time.Second), BackoffMS: 960_000},
				Findings: []api.Finding{{Rule: "R08", RuleText: "a crashed index is restarted after its back-off", Bucket: "wait", Detail: "restarted in 51s, after the back-off of its 9th crash"}}}},
		}},
	}}
	return f
}

// noLeader returns a frame of a cluster without a majority.
func noLeader() Frame {
	f := steady()
	s := f.Status
	s.Cluster = api.Cluster{Term: 8, Nodes: members("candidate", "unreachable", "unreachable")}
	s.Gate = api.Gate{Reasons: []string{"no-leader"}, Since: ago(12 * time.Second)}
	s.Basis.Leader, s.Basis.AgeMS = "", 12_400
	return f
}

// nodeGone returns a frame when no node has answered for 35 s.
func nodeGone() Frame {
	f := steady()
	f.Source.Now, f.Source.Addrs = noon.Add(35*time.Second), 3
	f.Source.Error = "no answer from http://10.0.0.1:5155: dial tcp 10.0.0.1:5155: connect: connection refused"
	return f
}

// emptyCluster returns a frame of a cluster that has heard nothing and read nothing.
func emptyCluster() Frame {
	f := steady()
	s := f.Status
	s.Gate = api.Gate{Reasons: []string{"actual-stale", "desired-stale"}, Since: ago(3 * time.Second)}
	s.Desired, s.Actual = api.DesiredStatus{Error: "Get \"http://cc.internal:8181/bulk/apps\": connection refused"}, api.ActualStatus{}
	f.Happened, f.Drift, f.Rates = nil, History{}, NewRates(10*time.Second)
	return f
}

// hostile returns a frame in which everything from outside tries to change the terminal or the layout.
func hostile() Frame {
	f := crashLoop()
	const evil = "\x1b[2J\x1b]0;owned\a\u202eevil\r\n\t漢字漢字漢字\u200b\xff"
	f.Apps.Items[0].App, f.Apps.Items[0].Version, f.Apps.Items[0].Verdict = evil, evil, evil
	f.DEAs.Items = []api.DEA{{DEA: evil, State: "unreadable", Count: 3, LastHeard: ago(2 * time.Second), Unreadable: &api.DEAUnreadable{Entries: 2, Since: ago(time.Minute), Why: evil}}}
	f.Status.Holds = []api.Hold{{Name: evil, Reason: evil, By: evil, SetAt: ago(time.Minute)}}
	f.Status.Desired.Error, f.Status.NATS.Error, f.Status.Node = evil, evil, evil
	f.Status.Cluster.Nodes[1].ID, f.Status.Cluster.Nodes[1].Problem = evil, evil
	f.Status.Actual.DoubledIDs, f.Status.Actual.Doubled = 1, []string{evil}
	f.Happened[0].Text, f.Happened[0].Kind = evil, evil
	f.Commands[0].App, f.Commands[0].Reason, f.Commands[0].Detail = evil, evil, evil
	f.Notice, f.By = Notice{Text: evil, Number: 1}, evil
	f.App.Value.App, f.App.Value.Versions[0].Verdict = evil, evil
	f.Source.Addr = evil
	return f
}

func scenes() map[string]Frame {
	return map[string]Frame{"steady": steady(), "nats-outage": outage(), "mass-loss": massLoss(), "crash-loop": crashLoop(),
		"no-leader": noLeader(), "node-gone": nodeGone(), "empty": emptyCluster(), "hostile": hostile()}
}

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it), got:\n%s", path, got)
	}
}

var sizes = []struct{ width, height int }{{80, 24}, {120, 40}, {200, 60}}

func TestTopIsGolden(t *testing.T) {
	for name, f := range scenes() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, s := range sizes {
				fmt.Fprintf(&b, "== %d x %d\n%s\n", s.width, s.height, Render(f, s.width, s.height, Theme{}))
			}
			golden(t, "top-"+name, b.String())
		})
	}
}

// pressed returns the screen after keys, with the frame that the view model gives for each query.
func pressed(f Frame, keys ...string) (Screen, Frame) {
	var s Screen
	for _, k := range keys {
		text := k
		if len([]rune(k)) > 1 {
			text = ""
		}
		s, _ = s.Press(k, text, f, 80, 24, f.Keys)
		f = answered(f, s.Query())
	}
	return s, f
}

// answered returns the frame as a view model would give it for a query.
func answered(f Frame, q Query) Frame {
	f.Apps.Query, f.DEAs.Query, f.Detail.Query = q, q, q
	f.Detail.At = noon
	return f
}

func TestPagesAreGolden(t *testing.T) {
	dea := massLoss()
	dea.DEA = Answer[api.DEA]{Query: Query{Page: PageDEA, ID: "0-z2-dea-00"}, Value: &api.DEA{DEA: "0-z2-dea-00", Count: 1, State: "gone", GoneAt: ago(41 * time.Second), LastHeard: ago(71 * time.Second), FirstSeen: ago(time.Hour), ChangedAt: ago(time.Minute),
		Instances: []api.Instance{{App: app1, Version: app2, Index: 2, Instance: app2, State: "RUNNING", Since: ago(time.Hour)}}}}
	paused := outage()
	paused.Status.Holds = []api.Hold{{Name: "paused", By: "amy@desk", Reason: "switches", SetAt: ago(time.Minute)}, {Name: "mass-loss", By: "hm", SetAt: ago(time.Minute)}}
	for name, tc := range map[string]struct {
		frame Frame
		keys  []string
	}{
		"apps":            {massLoss(), []string{"2", "down", "down"}},
		"apps-filter":     {massLoss(), []string{"2", "/", "0", "1"}},
		"apps-crashes":    {crashLoop(), []string{"2", "o"}},
		"deas":            {massLoss(), []string{"3", "end"}},
		"commands":        {crashLoop(), []string{"4"}},
		"events":          {massLoss(), []string{"5", "/", "h", "o", "l", "d", "enter", "down"}},
		"cluster":         {outage(), []string{"6"}},
		"cluster-holds":   {massLoss(), []string{"6", "end"}},
		"app":             {crashLoop(), []string{"down", "enter"}},
		"dea":             {dea, []string{"3", "down", "enter", "down"}},
		"help":            {steady(), []string{"?"}},
		"pause":           {steady(), []string{"p", "n", "o", "w"}},
		"resume":          {paused, []string{"p"}},
		"release":         {massLoss(), []string{"x"}},
		"release-which":   {paused, []string{"x"}},
		"release-nothing": {steady(), []string{"x"}},
		"chosen":          {massLoss(), []string{"down", "down"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := pressed(tc.frame, tc.keys...)
			got := RenderScreen(f, s, 80, 24, Theme{}) + "\n"
			if s.Query().ID != "" || name == "apps" {
				got += "== 130 x 30\n" + RenderScreen(f, s, 130, 30, Theme{}) + "\n"
			}
			golden(t, "page-"+name, got)
		})
	}
}

// Nothing from outside reaches the terminal as a control character, and no line is wider than the terminal, on any page.
func TestHostileNamesAreHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]Frame{hostile(), massLoss(), nodeGone(), busy()}).Draw(t, "frame")
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "down", "up", "enter", "esc", "v", "i", "o", "/", "漢", "?", "p", "x", "pgdown", "end", "home", "tab", "y", "backspace", "\x1b"}), 0, 12).Draw(t, "keys")
		width, height := rapid.IntRange(-1, 220).Draw(t, "width"), rapid.IntRange(-1, 70).Draw(t, "height")
		var s Screen
		for _, k := range keys {
			s, _ = s.Press(k, k, f, width, height, f.Keys)
			f = answered(f, s.Query())
			f.App.Query, f.DEA.Query = s.Query(), s.Query()
			shown := RenderScreen(f, s, width, height, Theme{})
			if strings.ContainsFunc(shown, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }) {
				t.Fatalf("after %q a control character is shown: %q", keys, shown)
			}
			lines := strings.Split(shown, "\n")
			if len(lines) > max(height, minHeight) {
				t.Fatalf("after %q: %d lines for a height of %d:\n%s", keys, len(lines), height, shown)
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > max(width, minWidth) {
					t.Fatalf("after %q: %d columns for a width of %d: %q", keys, w, width, l)
				}
			}
		}
	})
}

// With colours it says the same as without: no colour alone is a signal.
func TestColourSaysNothingMore(t *testing.T) {
	for name, f := range scenes() {
		for _, keys := range [][]string{nil, {"2", "down"}, {"3"}, {"4"}, {"5"}, {"6"}, {"p"}} {
			s, f := pressed(f, keys...)
			plain, coloured := RenderScreen(f, s, 100, 30, Theme{}), RenderScreen(f, s, 100, 30, Colored())
			trim := func(s string) string {
				lines := strings.Split(ansi.Strip(s), "\n")
				for i := range lines {
					lines[i] = strings.TrimRight(lines[i], " ")
				}
				return strings.Join(lines, "\n")
			}
			if trim(coloured) != trim(plain) {
				t.Errorf("%s after %v: with colours it shows\n%s\nwithout\n%s", name, keys, trim(coloured), plain)
			}
		}
	}
}
