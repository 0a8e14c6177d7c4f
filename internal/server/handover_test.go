package server

import (
	"slices"
	"testing"
	"time"

	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/reconcile"
)

func TestSuccessor(t *testing.T) {
	const window = 30 * time.Second
	now := time.Now()
	down := trouble{reconcile.ReasonNATSDown, now.Add(-window), window}
	input := func(change func(*handoverInput)) handoverInput {
		in := handoverInput{ID: "hm-0", Leads: true, Trouble: down, Applied: 1000, Hears: 5, Window: window}
		if change != nil {
			change(&in)
		}
		return in
	}
	member := func(id string, changes ...func(*cluster.Member)) cluster.Member {
		m := cluster.Member{ID: id, Voter: true, Healthy: true, HasInfo: true, Info: cluster.PeerInfo{NATSUp: true, AppliedIndex: 1000, Gate: "not-leader"}}
		for _, change := range changes {
			change(&m)
		}
		return m
	}
	unlinked := func(m *cluster.Member) { m.Info.NATSUp = false }
	own := member("hm-0", unlinked)
	applied := func(index uint64) func(*cluster.Member) {
		return func(m *cluster.Member) { m.Info.AppliedIndex = index }
	}
	hears := func(deas int) func(*cluster.Member) {
		return func(m *cluster.Member) { m.Info.HeardDEAs, m.Info.HearingComplete = deas, true }
	}
	late := func(in *handoverInput) {
		in.Trouble = trouble{reconcile.ReasonNATSLate, now.Add(-window / 3), window / 3}
	}
	deaf := func(in *handoverInput) { in.Trouble = trouble{reconcile.ReasonDeaf, now, 0} }
	gate := func(gate string) func(*cluster.Member) { return func(m *cluster.Member) { m.Info.Gate = gate } }
	both := []cluster.Member{own, member("hm-1"), member("hm-2")}
	for name, c := range map[string]struct {
		in      handoverInput
		members []cluster.Member
		want    string
	}{
		"down for a window":                        {input(nil), both, "hm-1"},
		"down for less than a window":              {input(func(in *handoverInput) { in.Trouble.since = now.Add(-window + 1) }), both, ""},
		"no trouble":                               {input(func(in *handoverInput) { in.Trouble = trouble{} }), both, ""},
		"does not lead":                            {input(func(in *handoverInput) { in.Leads = false }), both, ""},
		"tried less than a window ago":             {input(func(in *handoverInput) { in.Attempted = now.Add(-window + 1) }), both, ""},
		"tried a window ago":                       {input(func(in *handoverInput) { in.Attempted = now.Add(-window) }), both, "hm-1"},
		"alone":                                    {input(nil), []cluster.Member{own}, ""},
		"no members are known":                     {input(nil), nil, ""},
		"no peer has a link":                       {input(nil), []cluster.Member{own, member("hm-1", unlinked), member("hm-2", unlinked)}, ""},
		"only one has a link":                      {input(nil), []cluster.Member{own, member("hm-1", unlinked), member("hm-2")}, "hm-2"},
		"only itself has a link":                   {input(nil), []cluster.Member{member("hm-0")}, ""},
		"the peer is not a voter":                  {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Voter = false })}, ""},
		"not heard recently":                       {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = 2 * time.Second })}, ""},
		"not heard since this node leads":          {input(func(in *handoverInput) { in.Since = now.Add(-time.Second / 2) }), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = time.Second / 2 }), member("hm-2", applied(990))}, "hm-2"},
		"the peer is not healthy":                  {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Healthy = false })}, ""},
		"the peer has told nothing":                {input(nil), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.HasInfo = false })}, ""},
		"the peer is far behind":                   {input(nil), []cluster.Member{own, member("hm-1", applied(900))}, ""},
		"the peer is a little behind":              {input(nil), []cluster.Member{own, member("hm-1", applied(950))}, "hm-1"},
		"the peer with the newest entry":           {input(nil), []cluster.Member{own, member("hm-1", applied(950)), member("hm-2", applied(951))}, "hm-2"},
		"the peer that could command":              {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, desired-stale")), member("hm-2", applied(950))}, "hm-2"},
		"a link that has just returned":            {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, actual-stale")), member("hm-2", gate("not-leader, actual-stale, paused"))}, ""},
		"the peer's heartbeats are refused":        {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, nats-refused"))}, ""},
		"the peer's gate is unknown":               {input(nil), []cluster.Member{own, member("hm-1", gate(""))}, ""},
		"all are paused":                           {input(nil), []cluster.Member{own, member("hm-1", gate("not-leader, paused"))}, "hm-1"},
		"late, and one peer is late as well":       {input(late), []cluster.Member{own, member("hm-1", gate("not-leader, nats-late")), member("hm-2")}, "hm-2"},
		"late for less than a period":              {input(func(in *handoverInput) { late(in); in.Trouble.since = now.Add(-window/3 + 1) }), both, ""},
		"deaf":                                     {input(deaf), []cluster.Member{own, member("hm-1", hears(6)), member("hm-2", hears(7), applied(990))}, "hm-2"},
		"as deaf as its peers":                     {input(deaf), []cluster.Member{own, member("hm-1", hears(5)), member("hm-2", hears(4))}, ""},
		"deaf, and no peer hears more for certain": {input(deaf), []cluster.Member{own, member("hm-1", hears(9), func(m *cluster.Member) { m.Info.HearingComplete = false }), member("hm-2")}, ""},
		"deaf and not fresh":                       {input(deaf), []cluster.Member{member("hm-0", gate("deaf, actual-stale")), member("hm-1", hears(9))}, "hm-1"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := successor(c.in, c.members, now); got != c.want {
				t.Errorf("the successor is %q, want %q", got, c.want)
			}
		})
	}
}

// TestTroubleOfALink: which trouble a leader has, and since when, while links and pictures come and go.
func TestTroubleOfALink(t *testing.T) {
	const window, period = 30 * time.Second, 10 * time.Second
	start := time.Now()
	up, fresh := bus.State{Up: true, Since: start}, reconcile.Overview{ActualFresh: true}
	gate := func(reasons ...string) reconcile.Overview {
		return reconcile.Overview{ActualFresh: !slices.Contains(reasons, "actual-stale"), GateReasons: reasons}
	}
	peer := func(gate string) []cluster.Member {
		return []cluster.Member{{ID: "hm-1", Voter: true, Healthy: true, HasInfo: true, Info: cluster.PeerInfo{NATSUp: true, Gate: gate}}}
	}
	h := &handover{id: "hm-0", window: window, period: period}
	for _, c := range []struct {
		at      time.Duration
		what    string
		link    bus.State
		o       reconcile.Overview
		members []cluster.Member
		reason  string
		since   time.Duration
		within  time.Duration
	}{
		{0, "all is well", up, fresh, peer("not-leader"), "", 0, 0},
		{1, "late", up, gate("nats-late"), peer("not-leader"), "nats-late", 1, period},
		{3, "still late", up, gate("nats-late", "desired-stale"), peer("not-leader"), "nats-late", 1, period},
		{4, "no longer late", up, fresh, peer("not-leader"), "", 0, 0},
		{5, "late again", up, gate("nats-late"), peer("not-leader"), "nats-late", 5, period},
		{6, "deaf", up, gate("deaf"), peer("not-leader"), "deaf", 6, 0},
		{7, "one DEA is missed", up, reconcile.Overview{ActualFresh: true, Missed: 1}, peer("not-leader"), "deaf", 6, period},
		{8, "the link is down, for less than a window", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{9, "it is back, and not fresh", up, gate("actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{10, "it comes and goes", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "actual-stale", 8, 2 * window},
		{11, "no picture is fresh", up, gate("actual-stale"), peer("not-leader, actual-stale"), "", 0, 0},
		{12, "a peer's picture is fresh again", up, gate("actual-stale"), peer("not-leader"), "actual-stale", 12, 2 * window},
		{40, "down for a window", bus.State{Since: start}, gate("nats-down", "actual-stale"), peer("not-leader"), "nats-down", 0, window},
	} {
		got := h.assess(c.link, c.o, c.members, start.Add(c.at*time.Second))
		want := trouble{c.reason, start.Add(c.since * time.Second), c.within}
		if got.reason != c.reason || c.reason != "" && got != want {
			t.Errorf("%s: %+v, want %+v", c.what, got, want)
		}
		h.trouble = got
	}
}
