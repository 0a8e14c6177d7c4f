package main

import (
	"strings"
	"testing"
	"time"
)

// TestTheModelAgreesWithRuns compares the model with runs of docs/scale.md. What it says in bare subscribers is the ratio
// of two figures, each with an error of its own.
func TestTheModelAgreesWithRuns(t *testing.T) {
	of := func(instances int) size {
		return size{instances: instances, perApp: 2, perDEA: 100, period: 10 * time.Second, change: 0.05, crash: 0.05}
	}
	bare := func(l load) float64 { return measured.bare(l) }
	inBare := func(l load) float64 { return measured.hm(l) / measured.bare(l) }
	for _, x := range []struct {
		name string
		says func(load) float64
		load load
		run  float64
	}{
		{"bare subscriber, 300,000", bare, of(300_000).load(), 1.21 / 40},
		{"bare subscriber, 1,000,000", bare, of(1_000_000).load(), 3.86 / 40},
		{"bare subscriber, 3,000,000", bare, of(3_000_000).load(), 5.94 / 40},
		{"bare subscriber, 6,000,000", bare, of(6_000_000).load(), 9.06 / 40},
		{"steady, 300,000", inBare, of(300_000).load(), 1.85},
		{"steady, 1,000,000", inBare, of(1_000_000).load(), 1.49},
		{"steady, 3,000,000", inBare, of(3_000_000).load(), 1.70},
		{"steady, 6,000,000", inBare, of(6_000_000).load(), 1.61},
		{"change, 300,000", inBare, of(300_000).changing(), 4.02},
		{"crash, 300,000", inBare, of(300_000).crashing(), 5.38},
		{"memory, 6,000,000", func(l load) float64 { return measured.memory + l.instances*measured.record }, of(6_000_000).load(), 1432 << 20},
	} {
		if says := x.says(x.load); says < 0.8*x.run || says > 1.2*x.run {
			t.Errorf("%s: the model says %.3f, the run %.3f", x.name, says, x.run)
		}
	}
}

// TestTheModelIsShown: the largest fleet that one processor bears needs one processor, and everything of the table is there.
func TestTheModelIsShown(t *testing.T) {
	s := size{instances: 10_000_000, perApp: 2, perDEA: 100, period: 10 * time.Second, change: 0.05, crash: 0.05}
	for _, p := range measured.parts(s) {
		s.instances = int(p.most(s) * 1e6)
		if need := p.need(s); s.instances < 1e9 && (need < 0.9 || need > 1) {
			t.Errorf("%s: %d instances need %.3f processors", p.name, s.instances, need)
		}
	}
	var out strings.Builder
	s.instances = 10_000_000
	if err := showModel(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, part := range append([]string{"network to each node", "hear everything for the first time", "a storm of starts", "memory"}, "receive every heartbeat") {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no line on %q in:\n%s", part, out.String())
		}
	}
}
