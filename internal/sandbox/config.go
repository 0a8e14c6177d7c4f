package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hm/internal/config"
)

// ownedKeys are the keys of a node's configuration that the sandbox sets itself, each with the flag of hm dev that
// replaces it, if there is one. They include all that says how the parts find and trust each other, so that an
// environment for a real cluster does not change the sandbox.
var ownedKeys = map[string]string{
	"node.id": "", "node.data_dir": "--data-dir", "raft.listen": "", "raft.advertise": "", "raft.peers": "--nodes", "raft.join": "",
	"raft.tls.cert": "", "raft.tls.key": "", "raft.tls.ca": "", "raft.insecure": "",
	"api.listen": "--api", "api.advertise": "", "api.tls.cert": "", "api.tls.key": "", "api.tls.client_ca": "",
	"nats.servers": "", "nats.username": "", "nats.password": "", "nats.token": "", "nats.creds": "",
	"nats.tls.ca": "", "nats.tls.cert": "", "nats.tls.key": "",
	"desired.source": "--desired", "desired.partition": "",
	"desired.bulk.url": "", "desired.bulk.username": "", "desired.bulk.password": "",
	"desired.sql.driver": "--cc-db", "desired.sql.dsn": "--cc-db", "desired.sql.schema": "--cc-schema",
	"policy.heartbeat_period": "--heartbeat",
}

// ccAddress is where the nodes find the apps of the simulated Cloud Controller.
type ccAddress struct {
	url         string // of its HTTP API
	driver, dsn string // of its database
}

// ccPlaceholder is a valid address for a Cloud Controller that has not started.
var ccPlaceholder = ccAddress{url: "http://127.0.0.1:8181", driver: "sqlite", dsn: ccDBName}

// config returns the configuration of one node: that of the environment and of Sets, with the owned keys on top.
func (o Options) config(self peer, peers []peer, api, dir, nats string, cc ccAddress) (config.Config, error) {
	for _, s := range o.Sets {
		name, _, _ := strings.Cut(s, "=")
		if flag, owned := ownedKeys[name]; owned {
			hint := "leave it out; hm server is for a set-up of your own"
			if flag != "" {
				hint = "use " + flag
			}
			return config.Config{}, withHint(fmt.Errorf("--set %s: hm dev sets this key itself", name), hint)
		}
	}
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = p.ID + "=" + p.Raft
	}
	values := map[string]string{
		"node.id": self.ID, "node.data_dir": filepath.Join(dir, self.ID),
		"raft.listen": self.Raft, "raft.peers": strings.Join(list, ","), "raft.insecure": "false", "raft.join": "false",
		"api.listen": api, "nats.servers": nats,
		"desired.source": o.Desired, "desired.partition": config.Default().Desired.Partition,
		"desired.bulk.url": cc.url, "desired.sql.driver": cc.driver, "desired.sql.dsn": cc.dsn,
		"desired.sql.schema":      config.Default().Desired.SQL.Schema,
		"policy.heartbeat_period": o.Heartbeat.String(),
	}
	sets := slices.Clone(o.Sets)
	for name := range ownedKeys {
		sets = append(sets, name+"="+values[name])
	}
	return o.Configure(sets)
}
