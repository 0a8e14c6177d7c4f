package reconcile

import (
	"testing"
	"time"

	"hm/actual"
)

// TestR44TheFirstToSpeakAgainDoNotConvictTheOthers: all DEAs were silent. One that lists an old
// crash is heard again before the one that runs the copy.
func TestR44TheFirstToSpeakAgainDoNotConvictTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		silence time.Duration
		link    bool // it goes as well, and returns before anybody speaks
		window  time.Duration
	}{
		"for a minute, with the link up":           {6 * hb, false, 3 * hb},
		"for a minute, with the link down at last": {6 * hb, true, 3 * hb},
		"for less than a time to live":             {3*hb - time.Second, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 8, testOptions())
			first, late := cf.deas["dea-000"], cf.deas["dea-001"]
			runs := late.list[0]
			first.list = append(first.list, cf.instance(runs.App, runs.Index, actual.Crashed))
			cf.run(2 * hb)
			cf.wantSent("a crashed instance beside a live one", 0, 0)
			for _, d := range cf.deas {
				d.quiet, d.nextBeat = true, cf.now.Add(c.silence)
			}
			if c.link {
				cf.run(c.silence - 8*time.Second)
				cf.setLink(false)
				cf.run(4 * time.Second)
				cf.setLink(true)
				cf.run(4*time.Second - 1)
			} else {
				cf.run(c.silence - 1)
			}
			for _, d := range cf.deas {
				d.quiet = false
			}
			late.nextBeat = late.nextBeat.Add(4 * time.Second)
			cf.run(2*time.Second + 1)
			if c.window > 0 {
				cf.wantGate("the first have spoken", ReasonActualStale)
			}
			cf.run(c.window + 3*hb)
			cf.wantGate("everybody speaks again")
			cf.wantSent("everybody was silent for a while", 0, 0)
		})
	}
}
