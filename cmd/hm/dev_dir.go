package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hm/internal/config"
)

// Files in the data directory of hm dev, next to a directory for each node.
const (
	devLogName  = "dev.log"
	devFileName = "dev.json"
	devCCDBName = "cc.db" // the Cloud Controller's apps, in SQLite
)

// devDir is where hm dev keeps its data.
type devDir struct {
	path      string
	temporary bool
}

// openDevDir makes the directory, a temporary one if path is empty.
func openDevDir(path string) (devDir, error) {
	if path == "" {
		made, err := os.MkdirTemp("", "hm-dev-")
		if err != nil {
			return devDir{}, fmt.Errorf("making a temporary directory (--data-dir names another place): %w", err)
		}
		return devDir{path: made, temporary: true}, nil
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(abs, 0o700)
	}
	if err != nil {
		return devDir{}, fmt.Errorf("--data-dir: %w", err)
	}
	return devDir{path: abs}, nil
}

// close removes a temporary directory.
func (d devDir) close() error {
	if !d.temporary {
		return nil
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("removing the temporary directory: %w", err)
	}
	return nil
}

// devSaved is what a later hm dev on the same directory needs to continue: the nodes must be found under the same ids
// and addresses, and the simulation must lay out the same world.
type devSaved struct {
	Format    int           `json:"format"`
	Nodes     []devPeer     `json:"nodes"`
	DEAs      int           `json:"deas"`
	Apps      int           `json:"apps"`
	Instances int           `json:"instances_per_app"`
	Heartbeat time.Duration `json:"heartbeat_ns"`
	Seed      uint64        `json:"seed"`
	CCPassive bool          `json:"cc_passive"`
	Desired   string        `json:"desired,omitempty"`     // empty: bulk
	CCDBGiven bool          `json:"cc_db_given,omitempty"` // the apps are not in the directory; where else may be a secret
}

// devPeer is a node's identity in the cluster.
type devPeer struct {
	ID   string `json:"id"`
	Raft string `json:"raft"` // host:port
}

const devFormat = 1

// load gives what was saved, or the zero value in a new directory.
func (d devDir) load() (devSaved, error) {
	path := filepath.Join(d.path, devFileName)
	data, err := readLimited(path, maxConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return devSaved{}, nil
	}
	if err != nil {
		return devSaved{}, fmt.Errorf("reading what the last hm dev left: %w", err)
	}
	var s devSaved
	if err := json.Unmarshal(data, &s); err != nil {
		return devSaved{}, withHint(fmt.Errorf("%s: %w", path, err), "remove the directory to start anew")
	}
	if s.Format != devFormat || len(s.Nodes) == 0 {
		return devSaved{}, withHint(fmt.Errorf("%s: format %d with %d nodes, not one of this version's", path, s.Format, len(s.Nodes)), "remove the directory to start anew")
	}
	return s, nil
}

// save writes what a later hm dev needs. The file is whole or not there.
func (d devDir) save(s devSaved) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("saving %s: %w", devFileName, err)
	}
	path := filepath.Join(d.path, devFileName)
	err = os.WriteFile(path+".new", append(data, '\n'), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("saving %s: %w", devFileName, err)
	}
	return nil
}

// continuing gives the options with what was saved in place of flags that were not given.
func (o devOptions) continuing(s devSaved) (devOptions, error) {
	if s.Format == 0 {
		return o, nil
	}
	if o.given["nodes"] && o.nodes != len(s.Nodes) {
		return o, withHint(fmt.Errorf("--nodes %d: the cluster in %s has %d nodes", o.nodes, o.dataDir, len(s.Nodes)), "leave --nodes out, or use another --data-dir")
	}
	if s.CCDBGiven != (o.ccDB != "") {
		err := fmt.Errorf("the apps of the world in %s are in its %s, not in another database", o.dataDir, devCCDBName)
		if s.CCDBGiven {
			err = fmt.Errorf("the apps of the world in %s are in another database", o.dataDir)
		}
		return o, withHint(err, "give the same --cc-db as then, or use another --data-dir")
	}
	o.nodes = len(s.Nodes)
	keep := func(flag string, set func()) {
		if !o.given[flag] {
			set()
		}
	}
	keep("deas", func() { o.deas = s.DEAs })
	keep("apps", func() { o.apps = s.Apps })
	keep("instances-per-app", func() { o.instancesPerApp = s.Instances })
	keep("heartbeat", func() { o.heartbeat = s.Heartbeat })
	keep("seed", func() { o.seed = s.Seed })
	keep("cc-passive", func() { o.ccPassive = s.CCPassive })
	keep("desired", func() { o.desired = cmp.Or(s.Desired, config.SourceBulk) })
	return o, nil
}

// saved gives the other way round: what a later hm dev needs of these options.
func (o devOptions) saved(peers []devPeer) devSaved {
	return devSaved{Format: devFormat, Nodes: peers, DEAs: o.deas, Apps: o.apps, Instances: o.instancesPerApp,
		Heartbeat: o.heartbeat, Seed: o.seed, CCPassive: o.ccPassive, Desired: o.desired, CCDBGiven: o.ccDB != ""}
}
