package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/sim"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// posting is a cluster whose DEAs post their heartbeats over HTTPS.
type posting struct {
	*testCluster
	urls []string // of the nodes' endpoints
	ca   *tlstest.Authority
}

// startPosting starts three nodes with endpoints for heartbeats. The DEAs post to those of the nodes in to, each to one of
// them until it fails. change may change the simulation further.
func startPosting(t *testing.T, period time.Duration, to []int, change func(*sim.Options)) *posting {
	t.Helper()
	p := &posting{ca: tlstest.New(t)}
	cert, key := p.ca.Issue("node", nil)
	deaCert, deaKey := p.ca.Issue("dea", nil)
	ports := bustest.FreePorts(t, 3)
	for _, port := range ports {
		p.urls = append(p.urls, fmt.Sprintf("https://127.0.0.1:%d", port))
	}
	p.testCluster = startCluster(t, bustest.Run(t, nil), clusterSetup{
		period: period, quiet: true, // else all DEAs post to the node that is up first
		sets: []string{"heartbeats.tls.cert=" + cert, "heartbeats.tls.key=" + key, "heartbeats.tls.client_ca=" + p.ca.CA},
		nodeSets: func(i int) []string {
			return []string{fmt.Sprintf("heartbeats.listen=127.0.0.1:%d", ports[i])}
		},
		sim: func(o *sim.Options) {
			for _, i := range to {
				o.HeartbeatURLs = append(o.HeartbeatURLs, p.urls[i])
			}
			o.HeartbeatCert, o.HeartbeatKey, o.HeartbeatCA = deaCert, deaKey, p.ca.CA
			if change != nil {
				change(o)
			}
		},
	})
	return p
}

// heard gives how many heartbeats a node has heard over NATS, was posted, and was told by its peers.
func (p *posting) heard(i int) (nats, posted, relayed uint64) {
	s := p.nodes[i].feedStats()
	return s.Heartbeats - s.Posted - s.Relayed, s.Posted, s.Relayed
}

// awaitHeartbeats waits until each node has heard n more heartbeats.
func (p *posting) awaitHeartbeats(n uint64) {
	p.t.Helper()
	var want []uint64
	for i := range p.nodes {
		want = append(want, p.nodes[i].feedStats().Heartbeats+n)
	}
	bustest.Until(p.t, "every node has heard more heartbeats", func() bool {
		for i := range p.nodes {
			if p.nodes[i].feedStats().Heartbeats < want[i] {
				return false
			}
		}
		return true
	})
}

func (p *posting) awaitHearing(want string) {
	p.t.Helper()
	bustest.Until(p.t, "every node hears "+want, func() bool {
		for i := range p.nodes {
			if p.hears(i) != want {
				return false
			}
		}
		return true
	})
}

// TestHeartbeatsOverHTTPS: DEAs post to any node. All nodes know the whole fleet and agree; while nothing changes, nothing
// is written; crashes and deployments are answered as over NATS. When a node is lost, its DEAs go on with the others.
func TestHeartbeatsOverHTTPS(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	p := startPosting(t, 500*time.Millisecond, []int{0, 1, 2}, nil)
	leader := p.awaitConverged()
	p.awaitHearing("10 10 10")
	for i := range p.nodes {
		if nats, posted, relayed := p.heard(i); nats != 0 || relayed == 0 {
			t.Errorf("node %d has heard %d heartbeats over NATS, %d over HTTPS, %d from peers", i, nats, posted, relayed)
		}
	}
	index := p.nodes[leader].cluster.View().Index()
	p.awaitHeartbeats(50)
	if now := p.nodes[leader].cluster.View().Index(); now != index {
		t.Errorf("%d entries were written while nothing changed", now-index)
	}
	p.wantNoCommands("posting")
	bustest.Until(t, "the states are equal", func() bool {
		hash, at := p.nodes[0].cluster.View().Hash(), p.nodes[0].cluster.View().Index()
		for _, n := range p.nodes {
			if v := n.cluster.View(); v.Index() != at || v.Hash() != hash {
				return false
			}
		}
		return true
	})
	text := p.metrics(leader)
	for _, series := range []string{`hm_heartbeat_relays_total{outcome="told"}`, "hm_heartbeat_relay_bytes_total", "hm_heartbeats_posted_total",
		"hm_heartbeat_connections", `hm_heartbeats_refused_total{reason="certificate"}`} {
		if !strings.Contains(text, "\n"+series+" ") {
			t.Errorf("/metrics lacks %s", series)
		}
	}

	lost := (leader + 1) % 3
	p.nodes[lost].close(t)
	p.nodes = append(p.nodes[:lost:lost], p.nodes[lost+1:]...)
	p.awaitHeartbeats(60) // longer than a time to live
	p.wantNoCommands("the loss of a node")
	for i := range p.nodes {
		p.wantNoGoneDEAs(i, "the loss of a node")
	}

	app := p.sim.Apps(0, 1)[0]
	if _, err := p.sim.CC.ScaleApp(app.GUID, app.Instances+3); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the new instances run", func() bool { return p.sim.State().Commands.StartsAccepted >= 3 && p.sim.State().Converged })
}

// TestHeartbeatsBothWays: DEAs send each heartbeat over NATS and over HTTPS. Each DEA counts once, none as two, and nothing
// is written.
func TestHeartbeatsBothWays(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	p := startPosting(t, 500*time.Millisecond, []int{0, 1, 2}, func(o *sim.Options) { o.HeartbeatsAlsoNATS = true })
	leader := p.awaitConverged()
	p.awaitHearing("10 10 10")
	index := p.nodes[leader].cluster.View().Index()
	p.awaitHeartbeats(100)
	if now := p.nodes[leader].cluster.View().Index(); now != index {
		t.Errorf("%d entries were written while nothing changed", now-index)
	}
	for i, n := range p.nodes {
		if nats, posted, relayed := p.heard(i); nats == 0 || posted+relayed == 0 {
			t.Errorf("node %d has heard %d heartbeats over NATS, %d over HTTPS, %d from peers", i, nats, posted, relayed)
		}
		if c := n.cluster.View().Counts(); c.DEAs != 10 || c.GoneDEAs != 0 {
			t.Errorf("node %d has %d DEAs, and %d gone ones", i, c.DEAs, c.GoneDEAs)
		}
		if strings.Contains(p.metrics(i), "\nhm_doubled_dea_ids 1") {
			t.Errorf("node %d takes a DEA for two", i)
		}
	}
	p.wantNoCommands("heartbeats in both ways")
}

// TestARelayThatIsCut: a DEA posts to a follower alone, and the follower's heartbeats do not reach the leader. The leader
// asks the follower before it records a loss, so the DEA stays on record until the follower does not hear it either.
func TestARelayThatIsCut(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	p := startPosting(t, period, nil, func(o *sim.Options) {
		o.HeartbeatCert, o.HeartbeatKey, o.HeartbeatCA = "", "", ""
		o.DEAs = 12 // one silent DEA among them makes no leader deaf
	})
	leader := p.awaitConverged()
	follower := (leader + 1) % 3
	cert, key := p.ca.Issue("lonely", nil)
	c, err := tlsfiles.Client(tlsfiles.File{Path: p.ca.CA}, tlsfiles.File{Path: cert}, tlsfiles.File{Path: key})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}, Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			resp, err := client.Post(p.urls[follower]+"/dea/heartbeat", "application/json", bytes.NewReader([]byte(`{"droplets":[],"dea":"lonely"}`)))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				t.Errorf("answered %d", resp.StatusCode)
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	recorded := func() bool { // as present
		d, known := p.nodes[leader].cluster.View().DEA("lonely")
		return known && d.GoneAt == 0
	}
	bustest.Until(t, "the DEA is on record", recorded)
	bustest.Until(t, "all nodes hear it", func() bool { return p.hears(leader) == "13 13 13" })
	p.nodes[follower].posts.relay.Close() // everything else between the nodes goes on
	bustest.Until(t, "the leader misses the DEA, or has handed over to the follower, which hears more", func() bool {
		return p.nodes[leader].loop.Overview().Missed == 1 || p.nodes[follower].Leads()
	})
	for range 12 { // four times to live
		p.awaitHeartbeats(12)
		if !recorded() {
			t.Error("the DEA is recorded as lost, although the follower hears it")
		}
	}
	close(end)
	<-ended
	bustest.Until(t, "the DEA is lost", func() bool { return !recorded() })
	p.wantNoCommands("a relay that is cut")
}

// TestNATSAwayFromDEAsThatPost: NATS is lost while the DEAs go on posting. The nodes hear them, record what changes and send
// nothing, and no DEA is lost, even if its heartbeats cease meanwhile (I1, I4).
func TestNATSAwayFromDEAsThatPost(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	p := startPosting(t, 400*time.Millisecond, []int{0, 1, 2}, nil)
	p.awaitConverged()
	p.nats.Stop()
	bustest.Until(t, "every gate is closed", func() bool { return p.commander() < 0 })
	p.awaitHeartbeats(60)
	if p.commander() >= 0 {
		t.Error("a gate is open without NATS")
	}
	for i := range p.nodes {
		p.wantNoGoneDEAs(i, "NATS is away")
		if fresh := p.status(i).Actual.DEAs; fresh != 10 {
			t.Errorf("node %d shows %d DEAs", i, fresh)
		}
	}
	p.nats.Restart(t, nil)
	p.awaitConverged()
	p.wantNoCommands("an outage of NATS")
}

// TestTheWayOverHTTPSFails: most DEAs send over NATS, and no node takes heartbeats over HTTPS any more. That is no loss of
// the DEAs that post (I4): it is held.
func TestTheWayOverHTTPSFails(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	p := startPosting(t, 300*time.Millisecond, []int{0, 1, 2}, func(o *sim.Options) { o.DEAs, o.HeartbeatShare = 20, 0.4 })
	p.awaitConverged() // eight DEAs post, more than guard.min_deas: a busy machine may have lost some before
	p.awaitHearing("20 20 20")
	for _, n := range p.nodes {
		if err := n.posts.server.Close(); err != nil {
			t.Error(err)
		}
	}
	bustest.Until(t, "the loss is held", func() bool {
		for i := range p.nodes {
			if !strings.Contains(fmt.Sprint(p.status(i).Gate.Reasons), "hold:mass-loss") {
				return false
			}
		}
		return true
	})
	p.wantNoCommands("an outage of the endpoints")
}
