package liveview

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"hm/internal/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) api.Timestamp { return api.Timestamp{Time: noon.Add(-d)} }

func some[T any](v T) *T { return &v }

// busy returns a frame with something in every part.
func busy() Frame {
	f := Frame{
		Title: "hm dev", About: "3 nodes, heartbeat 1s, seed 1", Now: noon, Up: 75 * time.Second, Keys: DevKeys,
		Places: []Place{{"hm-0", "http://127.0.0.1:5155"}, {"hm-1", "http://127.0.0.1:40001"},
			{"hm-2", "http://127.0.0.1:40002"},
			{"nats", "nats://127.0.0.1:40003"}, {"cc", "http://127.0.0.1:40004"}, {"log", "/tmp/hm-dev-1/dev.log"}},
		Nodes: []Node{{ID: "hm-0"}, {ID: "hm-1", Down: true, BackIn: 7 * time.Second}, {ID: "hm-2"}},
		Status: &api.Status{
			Cluster: api.Cluster{Leader: "hm-0", Term: 3, Nodes: []api.ClusterNode{
				{ID: "hm-0", State: "leader", Voter: true, Healthy: true, NATS: some(true), AppliedIndex: some(uint64(1234))},
				{ID: "hm-1", State: "unreachable", Voter: true},
				{ID: "hm-2", State: "follower", Voter: true, NATS: some(false), AppliedIndex: some(uint64(1230))},
			}},
			Gate:     api.Gate{Open: true, Reasons: []string{}, Since: ago(42 * time.Second)},
			Desired:  api.DesiredStatus{Fresh: true, Apps: 50, Instances: 98, SyncedAt: ago(2 * time.Second)},
			Actual:   api.ActualStatus{Fresh: true, DEAs: 19, GoneDEAs: 1, Instances: 97, Running: 92, Starting: 4, Crashed: 1},
			Drift:    api.DriftCounts{Missing: 5, Crashed: 1, Due: 3},
			Commands: api.CommandsStatus{PendingStarts: 3, SentStarts: 12, SentStops: 2},
		},
		Truth: &Truth{Apps: 50, DEAs: 19, Desired: 98, Settled: 92, Router: true, Routes: 93, Requests: 3741,
			RequestsLost: 12},
		Faults: []string{"app 11111111 crash-loops (C)", "1 DEA gone (r)"},
		Commands: []api.Command{
			{ID: "1", Action: "start", App: "11111111-1111-4111-8111-111111111111", Index: 3, Reason: "CRASHED",
				State: "pending", CreatedAt: ago(time.Second), DueAt: ago(-2 * time.Second)},
			{ID: "2", Action: "start", App: "22222222-2222-4222-8222-222222222222", Index: 0, Reason: "MISSING", State: "sent",
				CreatedAt: ago(5 * time.Second), SentAt: ago(2 * time.Second)},
			{ID: "3", Action: "stop", App: "33333333-3333-4333-8333-333333333333", Index: 12, Reason: "EVACUATION_COMPLETE",
				State: "confirmed", CreatedAt: ago(9 * time.Second), EndedAt: ago(3 * time.Second)},
			{ID: "4", Action: "start", App: "44444444-4444-4444-8444-444444444444", Index: 1, Reason: "MISSING",
				State: "dropped", Detail: "the index is running again", CreatedAt: ago(9 * time.Second),
				EndedAt: ago(4 * time.Second)},
		},
		Events: []Event{
			{At: noon.Add(-4 * time.Second), Text: "closed node hm-1, which led; it comes back in 10s"},
			{At: noon.Add(-6 * time.Second), Text: "bringing DEAs back: none is gone", Failed: true},
			{At: noon.Add(-8 * time.Second), Text: "killed DEA 0-27ce with 5 instances on it"},
		},
	}
	for _, missing := range []int{0, 0, 1, 8, 40, 20, 5} {
		f.Drift = f.Drift.Add(api.DriftCounts{Missing: missing, Crashed: min(missing, 1)})
	}
	return f
}

// shut returns a frame of a cluster without NATS and without a good read of the desired state.
func shut() Frame {
	f := busy()
	f.Status.Gate = api.Gate{Reasons: []string{"nats-down", "actual-stale", "hold:mass-loss"},
		Since: ago(3700 * time.Second)}
	f.Status.Desired.Fresh, f.Status.Desired.Error = false, "the bulk API answered 500"
	f.Status.Actual.Fresh = false
	f.Status.Queue.Apps = 7
	f.Truth.Converged, f.Truth.Needless = true, 1
	return f
}

// played returns a frame of a replay at 10 times the speed, in the middle of an outage.
func played() Frame {
	f := busy()
	f.Title, f.About, f.Up, f.Places, f.Nodes, f.Truth, f.Faults = "hm replay", "a zone is lost  zone.jsonl.zst", 0, nil,
		nil, nil, nil
	f.Status.NATS = api.NATS{Connected: true, Since: ago(290 * time.Second)}
	f.Play = &Play{Speed: 10, Done: 0.423, Leaders: 2, LeaderAt: noon.Add(-95 * time.Second)}
	f.Events = []Event{
		{At: noon.Add(-4 * time.Second), Text: "finding  5 × missing (R01), the first 11111111-1111-4111-8111-111111111111/3"},
		{At: noon.Add(-42 * time.Second), Text: "gate     open"},
		{At: noon.Add(-60 * time.Second), Text: "desired  read: wanted apps 50, instances 98"},
		{At: noon.Add(-95 * time.Second), Text: "leader   another node leads"},
		{At: noon.Add(-125 * time.Second), Text: "gate     closed: actual-stale", Failed: true},
	}
	f.Keys = f.Play.Keys()
	return f
}

// playing returns a frame like played with another Play.
func playing(p Play) Frame {
	f := played()
	f.Play, f.Keys = &p, p.Keys()
	return f
}

func TestFramesAreGolden(t *testing.T) {
	for name, tc := range map[string]struct {
		frame         Frame
		width, height int
		theme         Theme
	}{
		"wide":  {busy(), 150, 40, Theme{}},
		"usual": {busy(), 80, 24, Theme{}},
		"small": {busy(), 60, 14, Theme{}},
		"tiny":  {busy(), 1, 1, Theme{}},
		"shut":  {shut(), 100, 30, Theme{}},
		"start": {Frame{Title: "hm dev", About: "1 node", Now: noon, Nodes: []Node{{ID: "hm-0"}}, Truth: &Truth{},
			Places: busy().Places[:1], Keys: DevKeys}, 80, 24, Theme{}},
		"colored": {busy(), 100, 30, Colored()},

		"replay-wide":    {played(), 150, 40, Theme{}},
		"replay-usual":   {played(), 80, 24, Theme{}},
		"replay-small":   {played(), 60, 14, Theme{}},
		"replay-colored": {played(), 100, 30, Colored()},
		"replay-start": {Frame{Title: "hm replay", About: "r.jsonl", Now: noon, Play: &Play{Speed: 0.25, Done: -1},
			Keys: (&Play{}).Keys()}, 80, 24, Theme{}},
		"replay-paused": {playing(Play{Speed: 1e6, Paused: true}), 80, 24, Theme{}},
		"replay-forward": {playing(Play{Speed: 1, Done: 0.5, Skip: noon.Add(100 * time.Second), Leaders: 1}), 80, 24,
			Theme{}},
		"replay-over":  {playing(Play{Speed: 1, Done: 0.99, Phase: RunningOn}), 80, 24, Theme{}},
		"replay-ended": {playing(Play{Speed: 1, Done: 1, Phase: Ended}), 80, 24, Theme{}},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, Render(tc.frame, tc.width, tc.height, tc.theme)+"\n")
		})
	}
}

// Every frame fits the terminal. A longer line or more lines would scroll it.
func TestFramesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]Frame{busy(), shut(), played(), playing(Play{Paused: true, Phase: RunningOn}), {}}).Draw(t,
			"frame")
		for range rapid.IntRange(0, 60).Draw(t, "commands") {
			f.Commands = append(f.Commands, api.Command{ID: "x", State: rapid.StringMatching(`[a-zé漢]{0,9}`).Draw(t, "state")})
		}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			f.Events = append(f.Events, Event{At: noon, Text: rapid.StringMatching(`[a-z 漢]{0,200}`).Draw(t, "text")})
		}
		width, height := rapid.IntRange(-1, 300).Draw(t, "width"), rapid.IntRange(-1, 80).Draw(t, "height")
		theme := rapid.SampledFrom([]Theme{{}, Colored()}).Draw(t, "theme")
		lines := strings.Split(Render(f, width, height, theme), "\n")
		if n := max(height, minHeight); len(lines) > n {
			t.Fatalf("%d lines for a height of %d", len(lines), height)
		}
		for _, l := range lines {
			if w := ansi.StringWidth(l); w > max(width, minWidth) {
				t.Fatalf("%d columns for a width of %d: %q", w, width, l)
			}
		}
	})
}

// If all parts fit, the lists share the lines that are left.
func TestListsShareWhatIsLeft(t *testing.T) {
	head := func(n int) []line { return make([]line, n) }
	for name, tc := range map[string]struct {
		parts  []part
		height int
		want   []int
	}{
		"room for all": {[]part{{lines: head(3)}, {lines: head(5), rank: 1, list: true}}, 20, []int{3, 5}},
		"lists grow in turn": {[]part{{lines: head(9), list: true}, {lines: head(9), rank: 1, list: true}}, 11,
			[]int{6, 5}},
		"a short list is whole": {[]part{{lines: head(2), list: true}, {lines: head(9), rank: 1, list: true}}, 11,
			[]int{2, 9}},
		"no half parts":   {[]part{{lines: head(4), rank: 1}, {lines: head(3)}}, 6, []int{0, 3}},
		"nothing to show": {[]part{{}, {rank: 1, list: true}}, 6, []int{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := share(tc.parts, tc.height)
			for i := range got {
				if got[i] != tc.want[i] {
					t.Fatalf("got %v, want %v", got, tc.want)
				}
			}
		})
	}
}
