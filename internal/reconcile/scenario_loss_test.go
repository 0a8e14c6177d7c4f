package reconcile

import (
	"fmt"
	"testing"

	"hm/raftfsm"
)

// TestR60TheHoldIsThereBeforeTheLoss: the leader stops while it records that most DEAs fell silent.
func TestR60TheHoldIsThereBeforeTheLoss(t *testing.T) {
	for left := range 3 {
		t.Run(fmt.Sprint(left, " records are committed"), func(t *testing.T) {
			w := steady(t, 8, 20, testOptions())
			s := stopsIn[raftfsm.DEAsGone](w, left)
			silence(w, 6)
			s.stopAndFailOver(t)
			if n := w.View().Counts().GoneDEAs; n > 0 && !held(w.View(), HoldMassLoss) {
				t.Errorf("%d DEAs are recorded as gone without the hold", n)
			}
			w.run(10 * hb)
			w.wantGate("6 of 8 DEAs silent", "hold:mass-loss")
			w.wantSent("6 of 8 DEAs silent", 0, 0)
		})
	}
}

// TestR60ALeaderJudgesTheLossesThatItInherits: they were recorded without a hold, as by a leader with another guard.
func TestR60ALeaderJudgesTheLossesThatItInherits(t *testing.T) {
	w := steady(t, 8, 20, testOptions())
	var gone raftfsm.DEAsGone
	for i := range 6 {
		gone.DEAs = append(gone.DEAs, fmt.Sprintf("dea-%03d", i))
	}
	silence(w, 6)
	w.must(gone)
	w.failover()
	w.run(10 * hb)
	w.wantGate("6 of 8 DEAs were lost", "hold:mass-loss")
	w.wantSent("6 of 8 DEAs were lost", 0, 0)
}

// silence silences the first n DEAs, at one moment of their period.
func silence(w *world, n int) {
	for i := range n {
		w.deas[fmt.Sprintf("dea-%03d", i)].beat = w.now + 1
	}
	w.run(hb / 20)
	for i := range n {
		w.deas[fmt.Sprintf("dea-%03d", i)].quiet = true
	}
}
