package sandbox

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"hm/internal/config"
	"hm/internal/sim/fleet"
)

// Options say what a sandbox consists of. Names in errors are those of hm dev's flags.
type Options struct {
	DEAs, Apps      int // at the start
	InstancesPerApp int // the mean
	Nodes           int // hm nodes: 1, 3 or 5
	Heartbeat       time.Duration
	Seed            uint64 // the same seed gives the same apps and DEAs
	Requests        int    // requests a second that users send to all apps through a router; 0: no router
	CCPassive       bool   // the Cloud Controller starts and stops nothing by itself
	CCDB            string // the Cloud Controller's database, as in sim.Options; empty: a file in the data directory
	CCSchema        string // as in sim.Options
	Desired         string // where the nodes read the desired state: config.SourceBulk or config.SourceSQL
	API             string // address of the first node's API, host:port
	DataDir         string // where all data is kept for a later sandbox; empty: a temporary directory

	// Given has the names of the flags that the user set. A saved value replaces a default, but not a given one. If
	// "api" is given, no other address replaces API.
	Given map[string]bool

	Sets      []string                                   // keys of the nodes' configuration: policy.grace=5
	Configure func(sets []string) (config.Config, error) // loads a node's configuration
	Log       io.Writer                                  // where the nodes log; nil: a file in the data directory
	NewLogger func(w io.Writer, cfg config.Log) *slog.Logger
	Version   string // of this program

	listen func(n int) ([]string, error) // finds addresses for n nodes; nil: freeAddresses
}

// router returns the address of the router and the users' rate. A router that nobody asked for is left out of a sandbox
// with more instances than can listen.
func (o Options) router() (listen string, requests int) {
	if o.Requests == 0 || !o.Given["requests"] && o.Apps*o.InstancesPerApp > fleet.MaxEndpoints {
		return "", 0
	}
	return anyPort, o.Requests
}

// check reports the first option that is not valid. The simulation and the configuration check the others.
func (o Options) check() error {
	if !slices.Contains([]int{1, 3, 5}, o.Nodes) {
		return withHint(fmt.Errorf("--nodes %d: a cluster has 1, 3 or 5 nodes", o.Nodes), "use --nodes 3")
	}
	if o.Desired != config.SourceBulk && o.Desired != config.SourceSQL {
		return withHint(fmt.Errorf("--desired %s is not a source of the desired state", o.Desired),
			"use --desired bulk or sql")
	}
	return nil
}

// continuing returns the options with saved values in place of those that were not given.
func (o Options) continuing(s saved) (Options, error) {
	if s.Format == 0 {
		return o, nil
	}
	if o.Given["nodes"] && o.Nodes != len(s.Nodes) {
		return o, withHint(fmt.Errorf("--nodes %d: the cluster in %s has %d nodes", o.Nodes, o.DataDir, len(s.Nodes)),
			"leave --nodes out, or use another --data-dir")
	}
	if s.CCDBGiven != (o.CCDB != "") {
		err := fmt.Errorf("the apps of the simulation in %s are in its %s, not in another database", o.DataDir, ccDBName)
		if s.CCDBGiven {
			err = fmt.Errorf("the apps of the simulation in %s are in another database", o.DataDir)
		}
		return o, withHint(err, "give the same --cc-db as then, or use another --data-dir")
	}
	o.Nodes = len(s.Nodes)
	keep := func(flag string, set func()) {
		if !o.Given[flag] {
			set()
		}
	}
	keep("deas", func() { o.DEAs = s.DEAs })
	keep("apps", func() { o.Apps = s.Apps })
	keep("instances-per-app", func() { o.InstancesPerApp = s.Instances })
	keep("heartbeat", func() { o.Heartbeat = s.Heartbeat })
	keep("seed", func() { o.Seed = s.Seed })
	keep("cc-passive", func() { o.CCPassive = s.CCPassive })
	keep("desired", func() { o.Desired = cmp.Or(s.Desired, config.SourceBulk) })
	return o, nil
}

// saved returns what a later sandbox in the same directory needs of these options.
func (o Options) saved(peers []peer) saved {
	return saved{Format: format, Nodes: peers, DEAs: o.DEAs, Apps: o.Apps, Instances: o.InstancesPerApp,
		Heartbeat: o.Heartbeat, Seed: o.Seed, CCPassive: o.CCPassive, Desired: o.Desired, CCDBGiven: o.CCDB != ""}
}

// hintedError is an error with what the user can do about it.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// Hint returns what the user can do.
func (e *hintedError) Hint() string { return e.hint }

func withHint(err error, hint string) error { return &hintedError{err, hint} }
