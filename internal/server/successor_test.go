package server

import (
	"slices"
	"testing"
	"time"

	"hm/internal/cluster"
	"hm/internal/reconcile"
)

func TestSuccessor(t *testing.T) {
	const window, period = 30 * time.Second, 10 * time.Second
	now := time.Now()
	type input struct {
		handsOver
		leaderView
	}
	lost := func(ago time.Duration) trouble { return trouble{reconcile.ReasonNATSDown, now.Add(-ago), settleTime} }
	in := func(changes ...func(*input)) input {
		i := input{handsOver{id: "hm-0", window: window, period: period, trouble: lost(2 * time.Second)}, leaderView{Leads: true, Applied: 1000, Hears: 5}}
		for _, change := range changes {
			change(&i)
		}
		return i
	}
	member := func(id string, changes ...func(*cluster.Member)) cluster.Member {
		m := cluster.Member{ID: id, Voter: true, Healthy: true, HasInfo: true,
			Info: cluster.PeerInfo{NATSUp: true, AppliedIndex: 1000, Gate: "not-leader", NATSProved: 300}}
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
	gate := func(gate string) func(*cluster.Member) { return func(m *cluster.Member) { m.Info.Gate = gate } }
	proved := func(ms cluster.Ago) func(*cluster.Member) {
		return func(m *cluster.Member) { m.Info.NATSProved = ms }
	}
	downFor := func(ago time.Duration) func(*input) { return func(i *input) { i.trouble = lost(ago) } }
	late := func(i *input) { i.trouble = trouble{reconcile.ReasonNATSLate, now.Add(-period), period} }
	deaf := func(i *input) { i.trouble = trouble{reconcile.ReasonDeaf, now, 0} }
	others := func(a, b func(*cluster.Member)) []cluster.Member {
		return []cluster.Member{own, member("hm-1", a), member("hm-2", b)}
	}
	both := []cluster.Member{own, member("hm-1"), member("hm-2")}
	for name, c := range map[string]struct {
		in      input
		members []cluster.Member
		want    string
		why     string
	}{
		"down for two seconds":                             {in(), both, "hm-1", ""},
		"down for less than a second":                      {in(downFor(settleTime - 1)), both, "", ""},
		"no trouble":                                       {in(func(i *input) { i.trouble = trouble{} }), both, "", ""},
		"any node handed over less than a window ago":      {in(func(i *input) { i.newest = now.Add(-window + 1) }), both, "", whyDamped},
		"any node handed over a window ago":                {in(func(i *input) { i.newest = now.Add(-window) }), both, "hm-1", ""},
		"a handover failed, and it is too soon":            {in(func(i *input) { i.retry = now.Add(1) }), both, "", ""},
		"the handover to the first failed":                 {in(func(i *input) { i.failed = "hm-1" }), both, "hm-2", ""},
		"the handover to the only one failed":              {in(func(i *input) { i.failed = "hm-1" }), both[:2], "hm-1", ""},
		"alone":                                            {in(), []cluster.Member{own}, "", whyNobody},
		"no members are known":                             {in(), nil, "", whyNobody},
		"no peer has a link":                               {in(), others(unlinked, unlinked), "", whyNobody},
		"only one has a link":                              {in(), []cluster.Member{own, member("hm-1", unlinked), member("hm-2")}, "hm-2", ""},
		"only itself has a link":                           {in(), []cluster.Member{member("hm-0")}, "", whyNobody},
		"no link is proved since this one was lost":        {in(), others(proved(1501), proved(5000)), "", whyNobody},
		"links were alive a moment after this one":         {in(), others(proved(1501), proved(1500)), "hm-2", ""},
		"a link was alive much later, but not lately":      {in(downFor(20 * time.Second)), others(proved(1501), proved(9000)), "", whyNobody},
		"what was proved was told long ago":                {in(), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge, m.Info.NATSProved = time.Second, 600 })}, "", whyNobody},
		"a peer that proves nothing, for less than window": {in(downFor(window - 1)), others(proved(0), proved(0)), "", whyNobody},
		"a peer that proves nothing, for a window":         {in(downFor(window)), others(proved(0), proved(9000)), "hm-1", ""},
		"the peer is not a voter":                          {in(), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Voter = false })}, "", whyNobody},
		"not heard recently":                               {in(), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = 2 * time.Second })}, "", whyNobody},
		"not heard since this node leads":                  {in(func(i *input) { i.Since = now.Add(-time.Second / 2) }), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = time.Second / 2 }), member("hm-2", applied(990))}, "", ""},
		"not heard since this node leads, for a second":    {in(func(i *input) { i.Since = now.Add(-time.Second) }), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.InfoAge = time.Second }), member("hm-2", applied(990))}, "hm-2", ""},
		"the peer is not healthy":                          {in(), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.Healthy = false })}, "", whyNobody},
		"the peer has told nothing":                        {in(), []cluster.Member{own, member("hm-1", func(m *cluster.Member) { m.HasInfo = false })}, "", whyNobody},
		"the peer is far behind":                           {in(), []cluster.Member{own, member("hm-1", applied(900))}, "", whyNobody},
		"the peer is a little behind":                      {in(), []cluster.Member{own, member("hm-1", applied(950))}, "hm-1", ""},
		"the peer with the newest entry":                   {in(), others(applied(950), applied(951)), "hm-2", ""},
		"the peer that could command":                      {in(), others(gate("not-leader, desired-stale"), applied(950)), "hm-2", ""},
		"a link that has just returned":                    {in(), others(gate("not-leader, actual-stale"), gate("not-leader, actual-stale, paused")), "", whyNobody},
		"the peer's heartbeats are refused":                {in(), []cluster.Member{own, member("hm-1", gate("not-leader, nats-refused"))}, "", whyNobody},
		"the peer's gate is unknown":                       {in(), []cluster.Member{own, member("hm-1", gate(""))}, "", whyNobody},
		"all are paused":                                   {in(), []cluster.Member{own, member("hm-1", gate("not-leader, paused"))}, "hm-1", ""},
		"late, and one peer is late as well":               {in(late), others(gate("not-leader, nats-late"), gate("not-leader")), "hm-2", ""},
		"late, and a link does not answer":                 {in(late), others(proved(6001), proved(6000)), "hm-2", ""},
		"late, and the peers prove nothing":                {in(late), others(proved(0), proved(0)), "hm-1", ""},
		"late for less than a period":                      {in(func(i *input) { late(i); i.trouble.since = now.Add(-period + 1) }), both, "", ""},
		"deaf":                                             {in(deaf), []cluster.Member{own, member("hm-1", hears(6)), member("hm-2", hears(7), applied(990))}, "hm-2", ""},
		"as deaf as its peers":                             {in(deaf), others(hears(5), hears(4)), "", whyNobody},
		"deaf, and no peer hears more for certain":         {in(deaf), []cluster.Member{own, member("hm-1", hears(9), func(m *cluster.Member) { m.Info.HearingComplete = false }), member("hm-2")}, "", whyNobody},
		"deaf and not fresh":                               {in(deaf), []cluster.Member{member("hm-0", gate("deaf, actual-stale")), member("hm-1", hears(9))}, "hm-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if to, why := c.in.successor(c.in.leaderView, c.members, now); to != c.want || why != c.why {
				t.Errorf("the successor is %q (%q), want %q (%q)", to, why, c.want, c.why)
			}
		})
	}
}

// TestTroubleOfALink: which trouble a leader has, and since when, while links and pictures come and go.
func TestTroubleOfALink(t *testing.T) {
	const window, period = 30 * time.Second, 10 * time.Second
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	up := func(gate ...string) leaderView {
		return leaderView{Leads: true, LinkUp: true, LinkSince: start, ActualFresh: !slices.Contains(gate, "actual-stale"), Gate: gate}
	}
	down := func(since float64) leaderView {
		return leaderView{Leads: true, LinkSince: at(since), Gate: []string{"nats-down", "actual-stale"}}
	}
	with := func(v leaderView, change func(*leaderView)) leaderView { change(&v); return v }
	peer := func(gate string) []cluster.Member {
		return []cluster.Member{{ID: "hm-1", Voter: true, Healthy: true, HasInfo: true, Info: cluster.PeerInfo{NATSUp: true, Gate: gate}}}
	}
	d := &handsOver{id: "hm-0", window: window, period: period}
	for _, c := range []struct {
		at      float64
		what    string
		v       leaderView
		members []cluster.Member
		reason  string
		since   float64
		within  time.Duration
	}{
		{0, "all is well", up(), peer("not-leader"), "", 0, 0},
		{1, "late", up("nats-late"), peer("not-leader"), "nats-late", 1, period},
		{3, "still late", up("nats-late", "desired-stale"), peer("not-leader"), "nats-late", 1, period},
		{4, "no longer late", up(), peer("not-leader"), "", 0, 0},
		{5, "late again", up("nats-late"), peer("not-leader"), "nats-late", 5, period},
		{6, "deaf", up("deaf"), peer("not-leader"), "deaf", 6, 0},
		{7, "one DEA is missed", with(up(), func(v *leaderView) { v.Missed = 1 }), peer("not-leader"), "deaf", 6, period},
		{8.5, "nothing has arrived for a moment", with(up(), func(v *leaderView) { v.LinkSilent = at(8) }), peer("not-leader"), "", 0, 0},
		{9, "nothing has arrived for a second", with(up(), func(v *leaderView) { v.LinkSilent = at(8) }), peer("not-leader"), "nats-down", 8, settleTime},
		{11, "the pings have failed", down(11), peer("not-leader"), "nats-down", 8, settleTime},
		{12, "it is back, and not fresh", up("actual-stale"), peer("not-leader"), "actual-stale", 9 + 2, 2 * window},
		{13, "it comes and goes", down(12.5), peer("not-leader"), "nats-down", 12.5, settleTime},
		{14, "it is back again", up("actual-stale"), peer("not-leader"), "actual-stale", 11, 2 * window},
		{15, "no picture is fresh", up("actual-stale"), peer("not-leader, actual-stale"), "", 0, 0},
		{16, "a peer's picture is fresh again", up("actual-stale"), peer("not-leader"), "actual-stale", 16, 2 * window},
		{16.5, "it has not been fresh since it leads", up("actual-stale"), peer("not-leader"), "actual-stale", 16, settleTime},
		{17, "heartbeats are refused", with(up("nats-refused", "actual-stale"), func(v *leaderView) { v.NATSRefused = true }), peer("not-leader"), "nats-refused", 17, period},
		{18, "still refused", with(up("nats-refused", "actual-stale"), func(v *leaderView) { v.NATSRefused = true }), peer("not-leader"), "nats-refused", 17, period},
		{40, "down since before it led", down(-60), peer("not-leader"), "nats-down", -60, settleTime},
	} {
		d.unfresh = c.what == "it has not been fresh since it leads"
		got := d.assess(c.v, c.members, at(c.at))
		want := trouble{c.reason, at(c.since), c.within}
		if got.reason != c.reason || c.reason != "" && (!got.since.Equal(want.since) || got.within != want.within) {
			t.Errorf("at %v s, %s: %+v, want %+v", c.at, c.what, got, want)
		}
		d.trouble = got
	}
}
