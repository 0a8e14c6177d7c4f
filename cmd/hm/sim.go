//go:build !lean

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hm/internal/sim"
	"hm/internal/sim/fleet"
)

// simTotalsEvery is how often hm sim checks whether the totals have changed.
const simTotalsEvery = 2 * time.Second

func newSimCommand(c *cli) *cobra.Command {
	o := sim.Options{}
	var exits string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a simulated Cloud Foundry against a given NATS",
		Long: `Run a simulated Cloud Foundry against a given NATS: a Cloud Controller with its bulk API, and DEAs
that heartbeat, start, stop, crash and evacuate instances. With --router-listen there is a router,
too, and every instance serves HTTP: curl -H 'Host: GUID.apps.hm.test' ROUTER asks an app. It runs
until it is interrupted, and keeps trying to connect to NATS.

The control API shows and changes what is simulated:
  curl 127.0.0.1:8182/state                                     totals, and whether desired and actual agree
  curl 127.0.0.1:8182/apps?limit=10                             also /deas and /commands?since=SEQ
  curl -X POST 127.0.0.1:8182/deas/random/kill?count=3          also pause, resume, restart, evacuate, shutdown; or /deas/ID/kill
  curl -X POST 127.0.0.1:8182/deas -d '{"count":3}'             add DEAs
  curl -X POST 127.0.0.1:8182/apps -d '{"instances":3}'         create an app; DELETE /apps/GUID deletes it
  curl -X POST 127.0.0.1:8182/apps/GUID/scale -d '{"instances":5}'
                                                                also stop, start, restart, restage, stage, crash {"index":0},
                                                                crash-loop {"after":"2s"}, end-crash-loop
  curl 127.0.0.1:8182/apps/GUID/stats                           what the Cloud Controller hears from the DEAs; needs NATS
  curl 127.0.0.1:8182/router                                    the router and the users' requests; also /router/routes
  curl -X PUT 127.0.0.1:8182/unrest -d '{"crash":0.01}'         what happens by itself between two heartbeats, as shares of the
                                                                instances: crash, change (the state)
  curl -X PUT 127.0.0.1:8182/hm9000 -d '{"running":true}'       a simulated HM9000 commands; also ignore_freshness, empty_reads,
                                                                and empty_store, to start it without what it left
  curl -X PUT 127.0.0.1:8182/faults -d '{"bulk":"html"}'        bulk: 401, 500, timeout, truncated, html, second-page, empty,
                                                                stale (the apps as they are now, for as long as it lasts);
                                                                bulk_delay, respondent_deaf, respondent_delay, lose_starts,
                                                                no_room, no_package (an accepted start goes to no DEA: over
                                                                HTTP a 503 and a 404), start_failure; cc_away, deas_away,
                                                                router_away (cut off from NATS); {} heals everything`,
		Example: `  hm sim --nats nats://127.0.0.1:4222 --apps 1000 --deas 20
  hm sim --cc-db cc.db
  hm sim --cc-db postgres://ccadmin:secret@127.0.0.1:5432/ccdb --cc-schema v2
  hm sim --apps 100 --deas 5 --heartbeat 1s --cold --cc-passive -o json
  hm sim --heartbeats-url https://hm-0:5335,https://hm-1:5335 --heartbeats-ca ca.pem \
    --heartbeats-cert dea.pem --heartbeats-key dea.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			styles := map[string]fleet.ExitStyle{"crashes": fleet.ExitsCrashes, "evacuations": fleet.ExitsEvacuations,
				"all": fleet.ExitsAll}
			style, ok := styles[exits]
			if !ok {
				return withHint(fmt.Errorf("--exits %q is not valid", exits), "use --exits crashes, evacuations or all")
			}
			o.Exits = style
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			o.Logger = slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level}))
			return runSim(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.NATS, "nats", []string{"nats://127.0.0.1:4222"}, "URLs of the NATS servers")
	f.IntVar(&o.Apps, "apps", 100, "apps at the start")
	f.IntVar(&o.DEAs, "deas", 10, "DEAs at the start")
	f.IntVar(&o.InstancesPerApp, "instances-per-app", 2, "mean number n of wanted instances of an app: each has 1 to 2n-1")
	f.DurationVar(&o.HeartbeatPeriod, "heartbeat", 10*time.Second, "heartbeat period of the DEAs")
	f.DurationVar(&o.StartDelay, "start-delay", 0, "time from STARTING to RUNNING; 0 for a tenth of the heartbeat period")
	f.DurationVar(&o.StartJitter, "start-jitter", 0,
		"random addition to --start-delay, at most this much; 0 for half the start delay, negative for none")
	f.DurationVar(&o.StagingDelay, "staging-delay", 0, "how long a restage takes; 0 for one heartbeat period")
	f.DurationVar(&o.EvacuationBailOut, "evacuation-bail-out", 0,
		"an evacuating DEA leaves after this at the latest; 0 for 11.5 heartbeat periods")
	f.StringVar(&o.CCListen, "cc-listen", "127.0.0.1:8181", "address of the Cloud Controller's bulk API")
	f.StringVar(&o.ControlListen, "control-listen", "127.0.0.1:8182", "address of the control API, loopback only")
	f.StringVar(&o.RouterListen, "router-listen", "",
		"address of a router, which makes running instances serve HTTP (default: no router)")
	f.BoolVar(&o.RouterPrunesWithoutNATS, "router-prunes-without-nats", false,
		"the router forgets routes that NATS cannot refresh, as gorouter does without suspend_pruning_if_nats_unavailable")
	f.IntVar(&o.Requests, "requests", 0, "requests a second that users send through the router, over all apps")
	f.StringVar(&o.Partition, "partition", "default", "Cloud Controller partition")
	f.StringVar(&o.BulkUser, "bulk-user", "bulk_api", "user of the bulk API")
	f.StringVar(&o.BulkPassword, "bulk-password", "bulk-password", "password of the bulk API")
	f.BoolVar(&o.BulkAllRows, "bulk-all-rows", false,
		"the bulk API also returns stopped and failed apps, as Cloud Controllers before July 2015 do")
	addSimDBFlags(f, &o.DB, &o.DBSchema, "default: memory")
	f.Uint64Var(&o.Seed, "seed", 1, "the same seed gives the same guids and placement")
	f.BoolVar(&o.ColdStart, "cold", false, "nothing runs at the start")
	f.BoolVar(&o.Passive, "cc-passive", false,
		"the Cloud Controller starts and stops nothing by itself and leaves it to hm")
	f.BoolVar(&o.HM9000, "hm9000", false, "a simulated HM9000 commands, too: for hm in shadow mode (commands.mode)")
	f.StringVar(&exits, "exits", "crashes", "exits that the DEAs announce: crashes, evacuations (and crashes) or all")
	f.IntVar(&o.Connections, "connections", 4, "NATS connections that the DEAs share")
	f.BoolVar(&o.ConnectionPerDEA, "connection-per-dea", false, "one NATS connection for each DEA")
	f.StringSliceVar(&o.HeartbeatURLs, "heartbeats-url", nil,
		"https://HOST:PORT of each endpoint to which the DEAs post their heartbeats (default: over NATS)")
	f.StringVar(&o.HeartbeatCert, "heartbeats-cert", "", "certificate that the DEAs show there")
	f.StringVar(&o.HeartbeatKey, "heartbeats-key", "", "private key of --heartbeats-cert")
	f.StringVar(&o.HeartbeatCA, "heartbeats-ca", "", "authority that has signed the endpoints' certificates")
	f.Float64Var(&o.HeartbeatShare, "heartbeats-share", 0, "share of the DEAs that post, 0 to 1; the others send over NATS (default: all)")
	f.BoolVar(&o.HeartbeatsAlsoNATS, "heartbeats-also-nats", false, "the DEAs send each heartbeat over NATS, too")
	f.BoolVarP(&verbose, "verbose", "v", false, "log every loss of NATS")
	return cmd
}

// addSimDBFlags adds the flags for the database of the simulated Cloud Controller. otherwise describes the default.
func addSimDBFlags(f *pflag.FlagSet, db, schema *string, otherwise string) {
	f.StringVar(db, "cc-db", "", "database for the Cloud Controller's apps, empty or from an earlier simulation, which then continues: "+
		"a path or sqlite:PATH, postgres://..., mysql://... or mysql:USER:PASSWORD@tcp(HOST:PORT)/DATABASE ("+otherwise+")")
	f.StringVar(schema, "cc-schema", "",
		"tables of the database: v2 (apps) or v3 (processes, apps, packages, droplets) (default: those that "+
			"it has, v3 if it is empty)")
}

// runSim runs a simulation until ctx ends.
func runSim(ctx context.Context, c *cli, o sim.Options) error {
	s, err := sim.Start(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	where := struct {
		CC      string `json:"cc"`
		Control string `json:"control"`
		CCDB    string `json:"cc_db,omitempty"`
		Router  string `json:"router,omitempty"`
	}{CC: s.CCURL(), Control: s.ControlURL()}
	driver, _, db := s.CC.DB()
	if db != "" {
		where.CCDB = driver + " " + db
	}
	if s.Router != nil {
		where.Router = s.Router.URL()
	}
	if c.json() {
		err = json.NewEncoder(c.out).Encode(where)
	} else {
		_, err = fmt.Fprintf(c.out, "Cloud Controller  %s  (user %s)\ncontrol           %s\n", where.CC, o.BulkUser,
			where.Control)
		if err == nil && db != "" {
			_, err = fmt.Fprintf(c.out, "CC database       %s\n", where.CCDB)
		}
		if err == nil && where.Router != "" {
			_, err = fmt.Fprintf(c.out, "router            %s  (an app's name is GUID.apps.hm.test)\n", where.Router)
		}
	}
	var last sim.Summary
	tick := time.NewTicker(simTotalsEvery)
	defer tick.Stop()
	for err == nil {
		st := s.State()
		if now := st.Summary(); now != last {
			last = now
			err = printTotals(c.out, c.json(), st)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return err
}

func printTotals(w io.Writer, asJSON bool, st sim.State) error {
	if asJSON {
		return json.NewEncoder(w).Encode(st)
	}
	state := "drifting "
	if st.Converged {
		state = "converged"
	}
	_, err := fmt.Fprintf(w, "%s  %s  apps %d  desired %d  running %d", st.At.Format(time.TimeOnly), state, st.Apps,
		st.Desired, st.Running)
	for _, part := range []struct {
		name string
		n    int
	}{{"starting", st.Starting}, {"missing", st.Missing}, {"crashed", st.Crashed}, {"evacuating", st.Evacuating},
		{"duplicate", st.Duplicate},
		{"undesired", st.Undesired}, {"cut off", st.CutOff}, {"DEAs paused", st.DEAsPaused}, {"DEAs gone", st.DEAsGone}} {
		if part.n > 0 && err == nil {
			_, err = fmt.Fprintf(w, "  %s %d", part.name, part.n)
		}
	}
	if err != nil {
		return err
	}
	n := st.Commands
	_, err = fmt.Fprintf(w, "  starts %d/%d  stops %d/%d", n.StartsAccepted, n.StartsAccepted+n.StartsRefused,
		n.StopsAccepted, n.StopsAccepted+n.StopsRefused)
	if r := st.Requests; err == nil && r.Sent > 0 {
		_, err = fmt.Fprintf(w, "  requests %d  failed %d", r.Sent, r.Failed)
	}
	if err == nil && st.Connected < st.Connections {
		_, err = fmt.Fprintf(w, "  NATS %d of %d connections", st.Connected, st.Connections)
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
