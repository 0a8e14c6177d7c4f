package reconcile

import (
	"testing"

	"hm/internal/app"
)

// TestTheQueueIsAsLargeAsItsApps: the times of apps move on with every evaluation, and are cancelled; what they leave
// behind does not add up. The times that count come in order.
func TestTheQueueIsAsLargeAsItsApps(t *testing.T) {
	var q queue
	const apps, evaluations = 500, 200
	for e := range evaluations {
		for a := range apps {
			q.evaluateAt(testKey(a, 1), app.Time(1_000_000+1_000*e+a))
		}
		if len(q.order) > 2*apps+fewStale {
			t.Fatalf("after %d evaluations of %d apps %d wake-ups are kept", e, apps, len(q.order))
		}
	}
	for a := range apps / 2 {
		q.evaluateAt(testKey(a, 1), 0)
	}
	want := app.Time(1_000_000 + 1_000*(evaluations-1) + apps/2)
	if at, ok := q.next(); !ok || at != want {
		t.Errorf("the next evaluation is at %d, want %d", at, want)
	}
	keys, _ := q.take(want+10, 1_000)
	if len(keys) != 11 {
		t.Errorf("%d apps are due, want 11", len(keys))
	}
	for a := range apps {
		q.evaluateAt(testKey(a, 1), 0)
	}
	q.evaluateAt(testKey(0, 1), 5)
	if keys, more := q.take(5, 10); len(keys) != 1 || more {
		t.Errorf("%d apps are due, more %v, want 1", len(keys), more)
	}
}
