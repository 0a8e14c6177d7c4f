package words

import (
	"testing"
	"time"

	"hm/internal/api"
)

func TestQueueInWords(t *testing.T) {
	at := func(d time.Duration) api.Timestamp {
		return api.Timestamp{Time: time.Unix(1_700_000_000, 0).UTC().Add(d)}
	}
	b := api.Basis{At: at(0)}
	for want, q := range map[string]api.Queue{
		"0 apps":  {},
		"12 apps": {Apps: 12},
		"12 apps to evaluate, 3 waiting for 4m00s: 3 actual-stale, 3 nats-down": {
			Apps: 12, Waiting: 3, Since: at(-4 * time.Minute), ByCause: map[string]int{"nats-down": 3, "actual-stale": 3},
		},
		"0 apps to evaluate, 9 waiting: 8 grace, 1 back-off": {Waiting: 9, ByCause: map[string]int{"back-off": 1, "grace": 8}},
		"1 app to evaluate, 1 waiting: 1 due":                {Apps: 1, Waiting: 1, Since: at(-time.Millisecond), ByCause: map[string]int{"due": 1}},
	} {
		if got := Queue(b, q).String(); got != want {
			t.Errorf("%+v is shown as\n%s, want\n%s", q, got, want)
		}
	}
	d := api.Draining{Since: at(-2 * time.Minute), Waiting: 300, HealedByItself: 12, StartsSent: 120, StopsSent: 1, StillWaiting: 4}
	want := "300 commands left of those when the gate opened 2m00s ago; 12 healed by themselves, 120 starts and 1 stop sent, 0 dropped, 4 wait for longer"
	if got := Draining(b, d); got != want {
		t.Errorf("%+v is shown as\n%s, want\n%s", d, got, want)
	}
}
