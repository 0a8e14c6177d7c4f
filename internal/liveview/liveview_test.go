package liveview

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
)

func TestKeysAreUniqueAndShown(t *testing.T) {
	for name, keys := range map[string]Keys{
		"dev": DevKeys, "playing": (&Play{}).Keys(), "paused": (&Play{Paused: true}).Keys(),
		"ended": (&Play{Phase: Ended}).Keys(),
	} {
		t.Run(name, func(t *testing.T) {
			seen, helped := map[string]bool{}, map[Action]bool{}
			help := painter{width: 1000}.flow(keyWords(keys), 1)[0].text.String()
			for _, k := range keys {
				if seen[k.Name] {
					t.Errorf("key %q occurs twice", k.Name)
				}
				seen[k.Name] = true
				if a, ok := keys.ActionOf(k.Name); !ok || a != k.Action {
					t.Errorf("the action of key %q is %q, want %q", k.Name, a, k.Action)
				}
				if k.Help != "" && !strings.Contains(help, k.Name+" "+k.Help) {
					t.Errorf("key %q is not in the help %q", k.Name, help)
				}
				helped[k.Action] = helped[k.Action] || k.Help != ""
			}
			for action, ok := range helped {
				if !ok {
					t.Errorf("no key in the help has the action %q", action)
				}
			}
			if _, ok := keys.ActionOf("ctrl+alt+x"); ok {
				t.Error("a key that is not in the table has an action")
			}
		})
	}
}

func TestSparklines(t *testing.T) {
	for name, tc := range map[string]struct {
		samples []int
		width   int
		want    string
	}{
		"nothing yet":          {nil, 5, ""},
		"never any":            {[]int{0, 0}, 5, ""},
		"zero is the lowest":   {[]int{0, 7}, 5, "▁█"},
		"small is not zero":    {[]int{1, 1000}, 5, "▂█"},
		"the newest":           {[]int{4, 0, 8}, 2, "▁█"},
		"no room":              {[]int{1}, 0, ""},
		"a count cannot be <0": {[]int{-5, 1}, 5, "▁█"},
	} {
		t.Run(name, func(t *testing.T) {
			var history History
			for _, n := range tc.samples {
				history = history.Add(api.DriftCounts{Missing: n})
			}
			if got := sparkline(history.counts("missing"), tc.width); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Add must not change a history that is being shown.
func TestHistoriesAreValues(t *testing.T) {
	var old History
	for i := range 2 * HistoryLength {
		next := old.Add(api.DriftCounts{Missing: i})
		other := old.Add(api.DriftCounts{Missing: -1})
		if len(next.samples) > HistoryLength || next.samples[len(next.samples)-1].Missing != i {
			t.Fatalf("after %d samples the history has %d and ends with %v, other %v", i+1, len(next.samples),
				next.samples[len(next.samples)-1], other)
		}
		old = next
	}
}

func TestNewestCommands(t *testing.T) {
	at := func(s int) api.Timestamp { return api.Timestamp{Time: noon.Add(time.Duration(s) * time.Second)} }
	outstanding := []api.Command{{ID: "a", CreatedAt: at(1), State: "pending"},
		{ID: "b", CreatedAt: at(2), SentAt: at(9), State: "sent"}, {ID: "e", CreatedAt: at(1), State: "sent"}}
	ended := []api.Command{{ID: "c", CreatedAt: at(1), EndedAt: at(8)}, {ID: "d", CreatedAt: at(0), EndedAt: at(3)},
		{ID: "e", CreatedAt: at(1), EndedAt: at(4), State: "confirmed"}}
	ids := func(n int) string {
		var b strings.Builder
		for _, c := range NewestCommands(outstanding, ended, n) {
			b.WriteString(c.ID)
		}
		return b.String()
	}
	for n, want := range map[int]string{10: "bceda", 2: "bc", 0: "", -1: ""} {
		if got := ids(n); got != want {
			t.Errorf("the newest %d are %q, want %q", n, got, want)
		}
	}
	i := slices.IndexFunc(NewestCommands(outstanding, ended, 10), func(c api.Command) bool { return c.ID == "e" })
	if c := NewestCommands(outstanding, ended, 10)[i]; c.State != "confirmed" {
		t.Errorf("a command that is both outstanding and ended is shown as %q", c.State)
	}
}

func TestTotals(t *testing.T) {
	got := TotalsOf(busy())
	want := "gate open, leader hm-0, 2 nodes, 19 DEAs, 92 of 98 running, drift 6 (5 missing), starts 3 + 12 sent, stops 0 + 2 sent, requests 3741 (0 failed, 12 to apps that were down), converging"
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !got.Equal(TotalsOf(busy())) || got.Equal(TotalsOf(shut())) {
		t.Error("equal totals differ, or different ones are equal")
	}
	closed := TotalsOf(shut())
	if !strings.HasPrefix(closed.String(), "gate closed (nats-down, actual-stale, hold:mass-loss), ") {
		t.Errorf("a closed gate reads %s", closed)
	}
	raw, err := json.Marshal(TotalsOf(Frame{}))
	if err != nil || !strings.Contains(string(raw), `"gate_open":false,"gate_reasons":[]`) {
		t.Errorf("without an answer the totals are %s, %v", raw, err)
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m00s",
		65 * time.Second:                "1m05s",
		59*time.Minute + 59*time.Second: "59m59s", 2*time.Hour + 3*time.Minute: "2h03m", 100 * time.Hour: "100h00m",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is shown as %s, want %s", d, got, want)
		}
	}
}
