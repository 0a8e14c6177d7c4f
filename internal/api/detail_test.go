package api

import (
	"testing"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
)

// W23: the text about starts that had no effect.
func TestDetailOfStartsWithoutEffect(t *testing.T) {
	const now = app.Time(1_700_000_000_000)
	in := &diff.Input{GrewAt: now.Add(-time.Hour)}
	for _, c := range []struct {
		f    diff.Finding
		want string
	}{
		{diff.Finding{Tries: 5, Why: diff.WhyNoEffect, Bucket: diff.Wait, Due: now.Add(4 * time.Minute)},
			"no instance is live at the index, started 5 times, never seen: next try in 4m00s"},
		{diff.Finding{Tries: 1, Why: diff.WhySent, Bucket: diff.Wait, Due: now.Add(20 * time.Second)},
			"no instance is live at the index, started once, never seen, start was sent and has 20s to take effect"},
		{diff.Finding{Tries: 2, Why: diff.WhyUnplaced, Bucket: diff.Wait, Due: now.Add(4 * time.Minute)},
			"no instance is live at the index, started 2 times, never seen, a DEA lists an instance of the app whose index hm cannot read: it may be this one, start in 4m00s"},
		{diff.Finding{Rule: "R63", Why: diff.WhyGrace, Bucket: diff.Wait, Due: now.Add(30 * time.Second)},
			"the instance at the index has been STARTING for too long, missing for less than the grace period, start in 30s"},
	} {
		c.f.Kind, c.f.Action = diff.KindMissing, commands.Start
		if got := detail(&c.f, in, now, ""); got != c.want {
			t.Errorf("it says\n%s\nwant\n%s", got, c.want)
		}
	}
}

// A command that shadow mode decided was not sent, and hm explain does not say so.
func TestDetailInShadowMode(t *testing.T) {
	const now = app.Time(1_700_000_000_000)
	in := &diff.Input{GrewAt: now.Add(-time.Hour), Held: []string{"shadow"}}
	f := diff.Finding{Kind: diff.KindMissing, Action: commands.Start, Why: diff.WhySent, Bucket: diff.Wait, Due: now.Add(20 * time.Second)}
	if got, want := detail(&f, in, now, ""), "no instance is live at the index, start was decided, and is not sent in shadow mode"; got != want {
		t.Errorf("the detail is %q, want %q", got, want)
	}
	if got := waitsFor(&f, in); got == diff.WhySent.String() {
		t.Errorf("it waits for %q", got)
	}
}
