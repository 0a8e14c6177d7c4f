package reconcile

import (
	"testing"
	"time"

	"hm/actual"
)

// TestR44TheFirstToSpeakAgainDoNotConvictTheOthers: everybody was silent, and a DEA that lists an old crash speaks again
// before the one that runs the copy.
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
			w := steady(t, 4, 8, testOptions())
			first, late := w.deas["dea-000"], w.deas["dea-001"]
			runs := late.list[0]
			first.list = append(first.list, w.instance(runs.App, runs.Index, actual.Crashed))
			w.run(2 * hb)
			w.wantSent("a crashed instance beside a live one", 0, 0)
			for _, d := range w.deas {
				d.quiet, d.beat = true, w.now.Add(c.silence)
			}
			if c.link {
				w.run(c.silence - 8*time.Second)
				w.setLink(false)
				w.run(4 * time.Second)
				w.setLink(true)
				w.run(4*time.Second - 1)
			} else {
				w.run(c.silence - 1)
			}
			for _, d := range w.deas {
				d.quiet = false
			}
			late.beat = late.beat.Add(4 * time.Second)
			w.run(2*time.Second + 1)
			if c.window > 0 {
				w.wantGate("the first have spoken", ReasonActualStale)
			}
			w.run(c.window + 3*hb)
			w.wantGate("everybody speaks again")
			w.wantSent("everybody was silent for a while", 0, 0)
		})
	}
}
