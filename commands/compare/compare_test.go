package compare

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/commands"
	"hm/internal/app"
)

const (
	t0     = app.Time(1_700_000_000_000)
	window = 300 * time.Second
)

var key = app.Key{Droplet: app.MustGUID("app"), Version: app.MustGUID("v")}

func at(seconds int) app.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// decided is a start of index 1 that hm decided and whose effect it heard a minute later.
func decided(seconds int, change ...func(*Own)) Own {
	o := Own{
		Action: commands.Start, App: key, Index: 1, Reason: "MISSING", Rule: "R01", Due: at(seconds), Decided: at(seconds),
		Ended: at(seconds + 60), State: commands.Confirmed,
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

// scheduled is one that hm would have sent at a time, and that ended before.
func scheduled(due, ended int) Own {
	return decided(due, func(o *Own) { o.Decided, o.Ended, o.State = 0, at(ended), commands.Dropped })
}

func expired(o *Own) { o.Ended, o.State = o.Decided.Add(window), commands.Expired }

func outstanding(o *Own) { o.Ended, o.State = 0, commands.Claimed }

func index(i uint32) func(*Own) { return func(o *Own) { o.Index = i } }

func stopOf(instance string) func(*Own) {
	return func(o *Own) { o.Action, o.Instance = commands.Stop, app.MustGUID(instance) }
}

func heard(seconds int, change ...func(*Other)) Other {
	o := Other{At: at(seconds), Action: commands.Start, App: key, Index: 1, MessageID: fmt.Sprint("m", seconds)}
	for _, c := range change {
		c(&o)
	}
	return o
}

// describe gives a row as "class own>other (repeats) why".
func describe(r Row) string {
	var b strings.Builder
	b.WriteString(string(r.Class))
	if r.Own != nil {
		fmt.Fprintf(&b, " hm@%d", r.Own.at().Sub(t0)/time.Second)
		if r.Own.Decided == 0 {
			b.WriteString(" due")
		}
	}
	if r.Other != nil {
		fmt.Fprintf(&b, " other@%d", r.Other.At.Sub(t0)/time.Second)
	}
	if r.Class == Both {
		fmt.Fprintf(&b, " %v", r.Delay)
	}
	if r.OwnRepeats+r.OtherRepeats > 0 {
		fmt.Fprintf(&b, " repeats %d/%d", r.OwnRepeats, r.OtherRepeats)
	}
	if len(r.HeldBy) > 0 {
		fmt.Fprintf(&b, " held by %s", strings.Join(r.HeldBy, ", "))
	}
	if r.Later != nil {
		fmt.Fprintf(&b, " later@%d", r.Later.Due.Sub(t0)/time.Second)
	}
	if r.Why != "" {
		fmt.Fprintf(&b, " why %s", r.Why)
	}
	return b.String()
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Input
		want []string
	}{
		{"nothing", Input{}, nil},
		{"both, hm earlier", Input{Own: []Own{decided(100)}, Others: []Other{heard(150)}}, []string{"both hm@100 other@150 50s"}},
		{"both, the other earlier", Input{Own: []Own{decided(100)}, Others: []Other{heard(70)}}, []string{"both hm@100 other@70 -30s"}},
		{
			"the other acts before hm's command is due", Input{Own: []Own{scheduled(100, 75)}, Others: []Other{heard(70)}},
			[]string{"both hm@100 due other@70 -30s"},
		},
		{"what hm only scheduled was not issued", Input{Own: []Own{scheduled(100, 75)}}, nil},
		{"only hm", Input{Own: []Own{decided(100)}}, []string{"only-hm hm@100"}},
		{"only the other", Input{Others: []Other{heard(100)}}, []string{"only-other other@100"}},
		{
			"further apart than the window", Input{Own: []Own{decided(100)}, Others: []Other{heard(401)}},
			[]string{"only-hm hm@100", "only-other other@401"},
		},
		{
			"another index, another action, another instance, another version", Input{
				Own: []Own{decided(100), decided(101, stopOf("i1")), decided(102, index(7))},
				Others: []Other{
					heard(100, func(o *Other) { o.Index = 2 }),
					heard(101, func(o *Other) { o.Action, o.Instance = commands.Stop, app.MustGUID("i2") }),
					heard(102, func(o *Other) { o.Index, o.App.Version = 7, app.MustGUID("w") }),
				},
			},
			[]string{"only-hm hm@100", "only-other other@100", "only-hm hm@101", "only-other other@101", "only-hm hm@102", "only-other other@102"},
		},
		{
			"a stop that does not say its index", Input{Own: []Own{decided(100, stopOf("i1"))}, Others: []Other{heard(110, func(o *Other) {
				o.Action, o.Index, o.Instance = commands.Stop, -1, app.MustGUID("i1")
			})}},
			[]string{"both hm@100 other@110 10s"},
		},
		{
			"the other repeats what has no effect", Input{Own: []Own{decided(100, expired)}, Others: []Other{heard(150), heard(270), heard(390)}},
			[]string{"both hm@100 other@150 50s repeats 0/2"},
		},
		{
			"the other starts again though the first start had its effect", Input{Own: []Own{decided(100)}, Others: []Other{heard(150), heard(270)}},
			[]string{"both hm@100 other@150 50s", "only-other other@270"},
		},
		{
			"hm decides again what has no effect", Input{Own: []Own{decided(100, expired), decided(400, expired), decided(700, outstanding)}},
			[]string{"only-hm hm@100 repeats 2/0"},
		},
		{
			"the other repeats what hm does not see", Input{Others: []Other{heard(100), heard(220), heard(340), heard(900)}},
			[]string{"only-other other@100 repeats 0/2", "only-other other@900"},
		},
		{
			"a crash loop", Input{Own: []Own{decided(0), decided(100), decided(200)}, Others: []Other{heard(60), heard(170), heard(230)}},
			[]string{"both hm@0 other@60 1m0s", "both hm@100 other@170 1m10s", "both hm@200 other@230 30s"},
		},
		{
			"the nearest is taken", Input{Own: []Own{decided(100)}, Others: []Other{heard(0), heard(110)}},
			[]string{"only-other other@0", "both hm@100 other@110 10s"},
		},
		{
			"a decision goes before what was only scheduled", Input{Own: []Own{scheduled(100, 60), decided(190)}, Others: []Other{heard(105)}},
			[]string{"both hm@190 other@105 -1m25s"},
		},
		{
			"held by a guard", Input{Others: []Other{heard(100)}, Held: []Span{{at(50), at(99), "paused"}, {at(90), 0, "hold:mass-loss"}}},
			[]string{"only-other other@100 held by hold:mass-loss"},
		},
		{
			"hm had scheduled it, and a guard held it", Input{Own: []Own{scheduled(110, 130)}, Others: []Other{heard(100)}, Held: []Span{{at(90), at(400), "hold:mass-loss"}}},
			[]string{"only-other other@100 held by hold:mass-loss later@110"},
		},
		{
			"scheduled for much later: the back-off of a crash", Input{Own: []Own{scheduled(1000, 105)}, Others: []Other{heard(100)}},
			[]string{"only-other other@100 later@1000"},
		},
		{
			"the other was first, and hm has learned since that it was right", Input{
				Others: []Other{heard(100), heard(200, func(o *Other) { o.Index = 2 }), heard(2900)}, Held: []Span{{at(190), at(210), "paused"}},
				Right: func(*Other) bool { return true },
			},
			[]string{"hindsight other@100", "only-other other@200 held by paused", "open other@2900"},
		},
		{
			"too early to tell", Input{Own: []Own{decided(2800)}, Others: []Other{heard(2900, func(o *Other) { o.Index = 2 })}},
			[]string{"open hm@2800", "open other@2900"},
		},
		{
			"the other could not be heard for a while", Input{
				Own: []Own{decided(100), decided(1000, index(2))}, Unheard: []Span{{0, at(-250), "before"}, {at(390), at(395), "nats-down"}},
			},
			[]string{"unknown hm@100 why nats-down", "only-hm hm@1000"},
		},
		{
			"hm's own commands are not known", Input{Others: []Other{heard(100), heard(900)}, Unknown: []Span{{0, at(0), "gap"}, {at(350), at(390), "gap"}}},
			[]string{"unknown other@100 why gap", "only-other other@900"},
		},
		{
			"before the beginning", Input{Own: []Own{decided(-1000), decided(-50)}, Others: []Other{heard(-1100), heard(10)}, Since: at(0)},
			[]string{"both hm@-50 other@10 1m0s"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Window, c.in.Now = window, at(3000)
			var got []string
			for _, r := range Compare(c.in) {
				got = append(got, describe(r))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the rows are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestSummary(t *testing.T) {
	s := Summarize(Compare(Input{
		Own: []Own{decided(0, index(1)), decided(0, index(2)), scheduled(50, 30), decided(0, index(4)), decided(0, index(5), expired), scheduled(2000, 110)},
		Others: []Other{
			heard(10, func(o *Other) { o.Index = 1 }), heard(20, func(o *Other) { o.Index = 2 }), heard(30), heard(110),
			heard(100, func(o *Other) { o.Index = 9 }), heard(30, func(o *Other) { o.Index = 5 }), heard(90, func(o *Other) { o.Index = 5 }),
			heard(2990, func(o *Other) { o.Index = 8 }),
		},
		Held: []Span{{at(90), at(105), "hold:mass-loss"}}, Window: window, Now: at(3000),
	}))
	if s.Both != 4 || s.OnlyHM != 1 || s.OtherFirst != 1 || s.OnlyOther != 2 || s.Held != 1 || s.Later != 1 || s.Open != 1 || s.OtherRepeats != 1 || s.Agree() {
		t.Errorf("%+v", s)
	}
	s.Delays = []time.Duration{-5, 1, 2, 3, 40}
	for p, want := range map[int]time.Duration{0: -5, 10: -5, 50: 2, 90: 40, 100: 40} {
		if got := s.Percentile(p); got != want {
			t.Errorf("percentile %d is %v, want %v", p, got, want)
		}
	}
	if (Summary{}).Percentile(50) != 0 || !(Summary{Both: 3, Open: 2}).Agree() {
		t.Error("an empty summary")
	}
}

// drawInput makes commands about few targets, so that they meet. Every command of hm was decided and is outstanding,
// so that the two sides differ in nothing.
func drawInput(t *rapid.T) Input {
	in := Input{Window: window, Now: at(rapid.IntRange(3000, 8000).Draw(t, "now")), Since: at(rapid.SampledFrom([]int{-9999, 1500}).Draw(t, "since"))}
	for range rapid.IntRange(0, 30).Draw(t, "own") {
		o := decided(rapid.IntRange(0, 3000).Draw(t, "at"), outstanding, index(rapid.Uint32Range(0, 2).Draw(t, "index")))
		in.Own = append(in.Own, o)
	}
	for range rapid.IntRange(0, 30).Draw(t, "others") {
		in.Others = append(in.Others, heard(rapid.IntRange(0, 3000).Draw(t, "at"), func(o *Other) { o.Index = rapid.IntRange(0, 2).Draw(t, "index") }))
	}
	return in
}

// TestEveryCommandIsInOneRow: rows and their repeats add up to all commands of either side; no command is in two rows;
// and the two of a pair are never further apart than the window.
func TestEveryCommandIsInOneRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Since = 0
		own, others := 0, 0
		seen := map[any]bool{}
		for _, r := range Compare(in) {
			own += r.OwnRepeats
			others += r.OtherRepeats
			if r.Own != nil {
				own++
				if seen[r.Own] {
					t.Fatalf("%s: hm's command is in two rows", describe(r))
				}
				seen[r.Own] = true
			}
			if r.Other != nil {
				others++
				if seen[r.Other] {
					t.Fatalf("%s: the other's command is in two rows", describe(r))
				}
				seen[r.Other] = true
			}
			if (r.Class == Both) != (r.Own != nil && r.Other != nil) || r.Class == Both && r.Delay.Abs() > window {
				t.Fatalf("%s", describe(r))
			}
		}
		if own != len(in.Own) || others != len(in.Others) {
			t.Fatalf("the rows have %d of %d commands of hm and %d of %d of the other", own, len(in.Own), others, len(in.Others))
		}
	})
}

// TestSidesAreTreatedAlike: with the sides changed, the same pairs are made, and "only hm" and "only the other" change
// places.
func TestSidesAreTreatedAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		mirror := Input{Window: in.Window, Now: in.Now, Since: in.Since}
		for _, o := range in.Own {
			mirror.Others = append(mirror.Others, Other{At: o.Decided, Action: o.Action, App: o.App, Index: int(o.Index)})
		}
		for _, o := range in.Others {
			mirror.Own = append(mirror.Own, decided(int(o.At.Sub(t0)/time.Second), outstanding, index(uint32(o.Index))))
		}
		a, b := Summarize(Compare(in)), Summarize(Compare(mirror))
		for i, d := range b.Delays {
			b.Delays[i] = -d
		}
		slices.Sort(b.Delays)
		if a.Both != b.Both || a.OnlyHM != b.OnlyOther || a.OnlyOther != b.OnlyHM || a.Open != b.Open || a.OwnRepeats != b.OtherRepeats || a.OtherRepeats != b.OwnRepeats || !slices.Equal(a.Delays, b.Delays) {
			t.Fatalf("%+v\nand with the sides changed\n%+v", a, b)
		}
	})
}

// TestMostPairsAreMade compares the pairs with those of every possible way to make them, for few commands.
func TestMostPairsAreMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tg target
		draw := func(name string) (times []int) {
			for range rapid.IntRange(0, 5).Draw(t, name) {
				times = append(times, rapid.IntRange(0, 1200).Draw(t, "at"))
			}
			slices.Sort(times)
			return times
		}
		for _, s := range draw("own") {
			o := decided(s)
			tg.own = append(tg.own, &o)
		}
		for _, s := range draw("others") {
			o := heard(s)
			tg.others = append(tg.others, &o)
		}
		got := score{}
		for j, i := range tg.match(Input{Window: window}) {
			if i >= 0 {
				got.pairs++
				got.apart += tg.others[j].At.Sub(tg.own[i].at()).Abs()
			}
		}
		best := score{}
		var try func(i, j int, s score)
		try = func(i, j int, s score) {
			if i == len(tg.own) || j == len(tg.others) {
				s.early, best.early = 0, 0
				if s.compare(best) > 0 {
					best = s
				}
				return
			}
			try(i+1, j, s)
			try(i, j+1, s)
			if d := tg.others[j].At.Sub(tg.own[i].at()).Abs(); d <= window {
				try(i+1, j+1, score{pairs: s.pairs + 1, apart: s.apart + d})
			}
		}
		try(0, 0, score{})
		if got != best {
			t.Fatalf("%d pairs that are %v apart, the best are %d and %v", got.pairs, got.apart, best.pairs, best.apart)
		}
	})
}

// TestAFloodAboutOneTargetEnds: many commands about one target are paired in parts.
func TestAFloodAboutOneTargetEnds(t *testing.T) {
	in := Input{Window: window, Now: at(9000)}
	for i := range 5000 {
		in.Own = append(in.Own, decided(i, outstanding))
		in.Others = append(in.Others, heard(i))
	}
	if s := Summarize(Compare(in)); s.Both < 4990 {
		t.Errorf("only %d pairs of 5000", s.Both)
	}
}
