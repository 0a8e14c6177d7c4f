package ccpub

import (
	"testing"
	"time"
)

// TestReachability: each step happens so many milliseconds after a leadership began, with heartbeats of a second.
func TestReachability(t *testing.T) {
	type step struct {
		at     int
		what   string // probe+, probe-, probe hung, post+, post-, post hung, old (answer to a probe of before), lead, lost
		up     bool
		change bool
		probe  int // when the next probe is due; -1: not looked at
	}
	for name, steps := range map[string][]step{
		"the first answer opens at once": {{5, "probe+", true, true, 1005}, {1006, "probe+", true, false, 2006}},
		"one failure of a known one closes nothing, three do": {
			{5, "probe+", true, true, 1005}, {1005, "probe-", true, false, 1105}, {1105, "post-", true, false, 1205},
			{1205, "probe-", false, true, 1305}, {1305, "probe+", true, true, 2305},
		},
		"an answer between failures starts the count anew": {
			{5, "probe+", true, true, 1005}, {1005, "probe-", true, false, -1}, {1010, "probe-", true, false, -1},
			{1020, "post+", true, false, 2020}, {1030, "probe-", true, false, -1}, {1040, "probe-", true, false, -1},
		},
		"a probe that hangs closes at once, and the next answer opens": {
			{5, "probe+", true, true, 1005}, {3005, "probe hung", false, true, 3105}, {3110, "probe+", true, true, 4110},
		},
		"no probe outweighs a post that hung less than a heartbeat ago": {
			{5, "probe+", true, true, 1005}, {500, "post hung", false, true, 1500}, {600, "probe+", false, false, 1600},
			{1499, "probe+", false, false, 2499}, {1500, "probe+", true, true, 2500},
		},
		"a post that is answered outweighs one that hung": {
			{5, "probe+", true, true, -1}, {500, "post hung", false, true, -1}, {510, "post+", true, true, -1}, {520, "probe+", true, false, -1},
		},
		"failures beside a post that hung put no probe before its heartbeat is over": {
			{5, "probe+", true, true, -1}, {500, "post hung", false, true, 1500}, {510, "probe-", false, false, 1500}, {2000, "probe-", false, false, 2100},
		},
		"a failure while nothing is known closes nothing that was open": {{5, "probe-", false, false, 105}, {105, "probe+", true, true, 1105}},
		"a new leadership knows nothing, and an older answer tells it nothing": {
			{5, "probe+", true, true, 1005}, {700, "lead", false, false, 700}, {701, "old", false, false, 700}, {702, "probe+", true, true, 1702},
		},
		"whoever does not lead learns nothing": {
			{5, "probe+", true, true, 1005}, {700, "lost", false, false, -1}, {701, "probe+", false, false, -1}, {702, "post hung", false, false, -1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := reachability{period: time.Second}
			r.lead(1, start)
			if r.up || !r.probeAt.Equal(start) {
				t.Fatalf("a new leader: up %v, probe in %v", r.up, r.probeAt.Sub(start))
			}
			for _, s := range steps {
				now := start.Add(time.Duration(s.at) * time.Millisecond)
				changed := false
				switch s.what {
				case "probe+":
					changed = r.answered(false, now, now)
				case "post+":
					changed = r.answered(true, now, now)
				case "old":
					changed = r.answered(false, start, now)
				case "probe-", "post-":
					changed = r.failed(s.what == "post-", false, "refused", now, now)
				case "probe hung", "post hung":
					changed = r.failed(s.what == "post hung", true, "too long", now, now)
				case "lead":
					r.lead(2, now)
				case "lost":
					r.lead(0, now)
				}
				if r.up != s.up || changed != s.change {
					t.Errorf("at %d, %s: up %v, changed %v; want %v, %v", s.at, s.what, r.up, changed, s.up, s.change)
				}
				if due := start.Add(time.Duration(s.probe) * time.Millisecond); s.probe >= 0 && !r.probeAt.Equal(due) {
					t.Errorf("at %d, %s: the next probe is due at %v, want %d", s.at, s.what, r.probeAt.Sub(start), s.probe)
				}
			}
		})
	}
}
