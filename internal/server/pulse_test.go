package server

import (
	"strings"
	"testing"
	"time"
)

// TestPulse: what counts as going on, and what as stuck.
func TestPulse(t *testing.T) {
	const limit = 30 * time.Second
	going := func(v *vitals, i int) { v.watchTurns, v.loopTurns = v.watchTurns+4, v.loopTurns+4 }
	for name, c := range map[string]struct {
		each  func(v *vitals, second int)
		stuck string // what Stuck says after two minutes; empty: nothing at any second
	}{
		"everything goes on": {each: going},
		"an idle loop waits": {each: func(v *vitals, i int) { v.watchTurns++ }},
		"a long turn that records": {each: func(v *vitals, i int) {
			v.watchTurns++
			v.loopBusy = true
			v.index = uint64(i / 20) // an entry in twenty seconds
		}},
		"a turn that waits for the disk": {each: func(v *vitals, i int) {
			v.watchTurns++
			v.loopBusy, v.diskWaits = true, true
		}},
		"both loops wait for the disk": {each: func(v *vitals, i int) { v.loopBusy, v.diskWaits = true, true }},
		"turns without a quorum end": {each: func(v *vitals, i int) {
			v.watchTurns++
			v.loopBusy = true
			v.loopTurns = uint64(i / 5)
		}},
		"a turn that does not end": {each: func(v *vitals, i int) {
			v.watchTurns++
			v.loopBusy = true
		}, stuck: "the reconcile loop has not gone on for 1m59s"},
		"the watch loop waits for ever": {each: func(v *vitals, i int) { v.loopTurns++ },
			stuck: "the watch loop has not gone on for 1m59s"},
		"both": {each: func(v *vitals, i int) { v.loopBusy = true },
			stuck: "the watch loop has not gone on for 1m59s; the reconcile loop has not gone on for 1m59s"},
		"it goes on again": {each: func(v *vitals, i int) {
			v.watchTurns++
			if v.loopBusy = i < 100; !v.loopBusy {
				v.loopTurns++
			}
		}, stuck: "-"},
		"the disk hangs for a minute, then the turn does": {each: func(v *vitals, i int) {
			v.watchTurns++
			v.loopBusy, v.diskWaits = true, i < 60
		}, stuck: "the reconcile loop has not gone on for 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var p pulse
			var v vitals
			start, said, ever := time.Now(), "", ""
			for i := range 120 {
				c.each(&v, i)
				if said = p.look(start.Add(time.Duration(i)*time.Second), v, limit); said != "" {
					ever = said
					if lasted := i; lasted <= 30 {
						t.Fatalf("after %d s already: %s", lasted, said)
					}
				}
			}
			switch {
			case c.stuck == "" && ever != "":
				t.Errorf("it says %q", ever)
			case c.stuck == "-" && (said != "" || !strings.Contains(ever, "reconcile")):
				t.Errorf("it says %q at the end, and %q before", said, ever)
			case c.stuck != "-" && said != c.stuck:
				t.Errorf("it says %q, want %q", said, c.stuck)
			}
		})
	}
}
