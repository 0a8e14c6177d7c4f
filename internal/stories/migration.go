package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/sim"
)

// setMigration starts an installation with 40 apps on 10 DEAs that a simulated HM9000 takes care of. An instance is
// STARTING for a heartbeat. hm is not there yet.
func setMigration(ctx context.Context, s *scene) error {
	s.env = []string{"HM_USERNAME=internal_user", "HM_PASSWORD=internal-password"}
	if err := s.simulation(ctx, "--apps", "40", "--deas", "10", "--start-delay", "1s", "--hm9000"); err != nil {
		return err
	}
	u, err := url.Parse(s.nats.URL())
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "hm9000.json"), fmt.Appendf(nil, hm9000JSON, s.cc, host, port), 0o600)
}

// hm9000JSON is HM9000's configuration, with the heartbeats of this installation.
const hm9000JSON = `{
  "heartbeat_period_in_seconds": 1,
  "heartbeat_ttl_in_heartbeats": 3,
  "actual_freshness_ttl_in_heartbeats": 3,
  "grace_period_in_heartbeats": 3,
  "fetcher_polling_interval_in_heartbeats": 6,
  "fetcher_network_timeout_in_seconds": 30,
  "desired_state_batch_size": 500,
  "cc_auth_user": "bulk_api",
  "cc_auth_password": "bulk-password",
  "cc_base_url": "http://%s",
  "skip_cert_verify": false,
  "store_schema_version": 4,
  "store_urls": ["http://10.0.16.4:4001"],
  "sender_message_limit": 60,
  "api_server_address": "127.0.0.1",
  "api_server_port": 5155,
  "api_server_username": "internal_user",
  "api_server_password": "internal-password",
  "log_level": "INFO",
  "nats": [{"host": "%s", "port": %s, "user": "", "password": ""}]
}
`

// setMode writes commands.mode into hm.yml, which all nodes read when they start.
func (p *page) setMode(mode string) {
	if p.err != nil {
		return
	}
	name := filepath.Join(p.scene.dir, "hm.yml")
	text, err := os.ReadFile(name)
	if err != nil {
		p.err = err
		return
	}
	before, _, _ := strings.Cut(string(text), "\ncommands:\n")
	p.err = os.WriteFile(name, []byte(before+"\ncommands:\n  mode: "+mode+"\n"), 0o600)
}

// startNodes starts every node on hm.yml.
func (p *page) startNodes(ctx context.Context) {
	for i := range nodes {
		if p.err == nil {
			p.err = p.scene.startNode(ctx, i, "--config", "hm.yml")
		}
	}
}

// restartNodes restarts the nodes on hm.yml, one at a time: the next one when all members are healthy again.
func (p *page) restartNodes(ctx context.Context) {
	for i := range nodes {
		if p.err == nil {
			p.err = p.scene.stopNode(i)
		}
		if p.err == nil {
			p.err = p.scene.startNode(ctx, i, "--config", "hm.yml")
		}
		p.until(ctx, "all nodes are healthy", func(s api.Status) bool {
			return s.Cluster.Leader != "" && !slices.ContainsFunc(s.Cluster.Nodes, func(n api.ClusterNode) bool { return !n.Healthy })
		})
	}
}

// askLeader lets the commands ask the node that leads: its gate line has no reason but those that matter.
func (p *page) askLeader(ctx context.Context, reasons ...string) {
	p.until(ctx, fmt.Sprintf("the leader's gate is closed for %v", reasons), func(s api.Status) bool {
		i := slices.IndexFunc(s.Cluster.Nodes, func(n api.ClusterNode) bool { return n.ID == s.Cluster.Leader })
		if i >= 0 {
			p.scene.asked = p.scene.apis[i]
		}
		return slices.Equal(s.Gate.Reasons, reasons) || len(s.Gate.Reasons) == 0 && len(reasons) == 0
	})
}

func (p *page) apps(ctx context.Context) (apps []sim.AppView) {
	p.do(ctx, http.MethodGet, "/apps?limit=40", "", &apps)
	return slices.DeleteFunc(apps, func(a sim.AppView) bool { return !a.Settled || a.State != "STARTED" || len(a.Running) == 0 })
}

// drift makes a crash, an app with one more instance, a deleted app, and the loss of a DEA.
func (p *page) drift(ctx context.Context) {
	apps := p.apps(ctx)
	if p.err == nil && len(apps) < 4 {
		p.err = fmt.Errorf("only %d apps are settled", len(apps))
	}
	if p.err != nil {
		return
	}
	p.do(ctx, http.MethodPost, "/apps/"+apps[0].GUID.String()+"/crash", `{"index":0}`, nil)
	p.do(ctx, http.MethodPost, "/apps/"+apps[1].GUID.String()+"/scale", fmt.Sprintf(`{"instances":%d}`, apps[1].Instances+1), nil)
	p.do(ctx, http.MethodDelete, "/apps/"+apps[2].GUID.String(), "", nil)
	p.do(ctx, http.MethodPost, "/deas/"+apps[3].Running[0].DEA+"/kill", "{}", nil)
	p.do(ctx, http.MethodPost, "/deas", `{"count":1}`, nil)
}

// hm9000 starts or stops the simulated HM9000.
func (p *page) hm9000(ctx context.Context, runs bool) {
	p.do(ctx, http.MethodPut, "/hm9000", fmt.Sprintf(`{"running":%v}`, runs), nil)
}

// hm9000Is waits until the simulated HM9000 is as wanted.
func (p *page) hm9000Is(ctx context.Context, what string, is func(sim.NeighbourState) bool) {
	p.wait(ctx, what, func() bool {
		var n sim.NeighbourState
		p.do(ctx, http.MethodGet, "/hm9000", "", &n)
		return is(n)
	})
}

// converged waits until the simulated Cloud Foundry is as desired.
func (p *page) converged(ctx context.Context) {
	p.wait(ctx, "everything runs as desired", func() bool {
		var s sim.State
		p.do(ctx, http.MethodGet, "/state", "", &s)
		return s.Converged
	})
}

// corrected waits until drift that was just made is noticed, and then until there is none.
func (p *page) corrected(ctx context.Context) {
	p.until(ctx, "there is drift", func(s api.Status) bool { return s.Drift.Total() > 0 })
	p.converged(ctx)
	p.until(ctx, "hm knows of no drift", func(s api.Status) bool { return s.Drift.Total() == 0 })
}

// tellMigration makes the migration happen and writes what an operator does and sees.
func tellMigration(ctx context.Context, p *page) {
	p.say(migrationHead)
	p.show(ctx, 20, "config", "import-hm9000", "hm9000.json", "-o", "hm.yml")
	p.setMode("shadow")
	p.file("hm.yml", "# What became of each key")
	p.say(migrationBefore)
	p.show(ctx, 20, "config", "check", "--config", "hm.yml")
	p.say(migrationShadow)
	p.converged(ctx)
	p.startNodes(ctx)
	p.askLeader(ctx, reconcile.ReasonShadow)
	p.show(ctx, 40, "status")
	p.let(ctx, 3*time.Second)
	p.drift(ctx)
	p.corrected(ctx)
	p.do(ctx, http.MethodPost, "/deas/random/evacuate?count=1", "", nil)
	p.corrected(ctx)
	p.wait(ctx, "it is known what both issued", func() bool {
		output, _, err := p.scene.ask(ctx, "commands", "compare", "-o", "json")
		var v api.Comparison
		return err == nil && json.Unmarshal([]byte(output), &v) == nil && v.Summary.Open+v.Summary.Unknown == 0
	})
	p.say(migrationCompare)
	p.show(ctx, 14, "commands", "compare", "--since", "24h", "--exit-code")
	p.say(migrationVerdict)

	p.show(ctx, 5, "pause", "--reason", "the switch from HM9000")
	p.setMode("enforce")
	p.say(migrationRestart)
	p.restartNodes(ctx)
	p.askLeader(ctx, reconcile.ReasonPaused)
	p.let(ctx, 2*time.Second) // every node hears every DEA
	p.show(ctx, 40, "status")
	p.say(migrationStop)
	p.drift(ctx)
	var starts uint64
	p.hm9000Is(ctx, "it is known what HM9000 has sent", func(n sim.NeighbourState) bool { starts = n.Stats.Starts; return true })
	p.hm9000Is(ctx, "HM9000 sends starts", func(n sim.NeighbourState) bool { return n.Stats.Starts > starts })
	p.drift(ctx)
	p.hm9000(ctx, false)
	stopped := time.Now()
	p.let(ctx, 3*time.Second)
	p.say(migrationWait)
	p.show(ctx, 14, "drift")
	p.show(ctx, 5, "resume")
	p.askLeader(ctx)
	blind := time.Since(stopped)
	p.say(fmt.Sprintf(migrationResumed, blind.Seconds()))
	p.let(ctx, 2*time.Second)
	p.show(ctx, 40, "status")
	p.say(migrationWatch)
	p.until(ctx, "hm has corrected everything", func(s api.Status) bool {
		return s.Drift.Total() == 0 && s.Queue.Apps == 0 && s.Commands.PendingStarts+s.Commands.PendingStops == 0
	})
	p.show(ctx, 14, "commands", "history")
	p.show(ctx, 5, "drift", "--exit-code")
	p.say(migrationAfter)

	p.drift(ctx)
	p.show(ctx, 5, "pause", "--reason", "back to HM9000")
	back := time.Now()
	p.hm9000(ctx, true)
	p.setMode("shadow")
	p.hm9000Is(ctx, "HM9000 acts", func(n sim.NeighbourState) bool { return n.Stats.Passes > n.Stats.NotFresh })
	blind = time.Since(back)
	p.restartNodes(ctx)
	p.askLeader(ctx, reconcile.ReasonPaused, reconcile.ReasonShadow)
	p.say(fmt.Sprintf(migrationBack, blind.Seconds()))
	p.show(ctx, 5, "resume")
	p.converged(ctx)
	p.askLeader(ctx, reconcile.ReasonShadow)
	p.show(ctx, 12, "status")
	p.say(migrationEnd)
}
