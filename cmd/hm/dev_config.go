package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hm/internal/config"
)

// devLog is the part of the configuration that the log depends on.
type devLog = config.Log

// devOwned are the keys that hm dev sets itself, with the flag that stands for one where there is any. All that has to
// do with how the parts find and trust each other is among them, so that an environment made for a real cluster does
// no harm.
var devOwned = map[string]string{
	"node.id": "", "node.data_dir": "--data-dir", "raft.listen": "", "raft.advertise": "", "raft.peers": "--nodes",
	"raft.tls.cert": "", "raft.tls.key": "", "raft.tls.ca": "", "raft.insecure": "",
	"api.listen": "--api", "api.advertise": "", "api.tls.cert": "", "api.tls.key": "", "api.tls.client_ca": "",
	"nats.servers": "", "nats.username": "", "nats.password": "", "nats.token": "", "nats.creds": "",
	"nats.tls.ca": "", "nats.tls.cert": "", "nats.tls.key": "",
	"desired.source": "--desired", "desired.partition": "", "desired.bulk.url": "", "desired.bulk.username": "", "desired.bulk.password": "",
	"desired.sql.driver": "--cc-db", "desired.sql.dsn": "--cc-db", "desired.sql.schema": "--cc-schema",
	"policy.heartbeat_period": "--heartbeat",
}

// devCC is where the nodes find the simulated Cloud Controller's apps.
type devCC struct {
	url         string // of its HTTP API
	driver, dsn string // of its database
}

// devCCAhead stands for the Cloud Controller before there is one.
var devCCAhead = devCC{url: "http://127.0.0.1:8181", driver: "sqlite", dsn: devCCDBName}

// config makes the configuration of one node through the loader that the daemon uses: what --set and the environment
// say, and over it what hm dev must have as it is.
func (o devOptions) config(self devPeer, peers []devPeer, api, dir, nats string, cc devCC) (config.Config, error) {
	for _, s := range o.sets {
		name, _, _ := strings.Cut(s, "=")
		if flag, owned := devOwned[name]; owned {
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
		"node.id": self.ID, "node.data_dir": filepath.Join(dir, self.ID), "raft.listen": self.Raft, "raft.peers": strings.Join(list, ","), "raft.insecure": "false",
		"api.listen": api, "nats.servers": nats, "desired.source": o.desired, "desired.partition": config.Default().Desired.Partition,
		"desired.bulk.url": cc.url, "desired.sql.driver": cc.driver, "desired.sql.dsn": cc.dsn, "desired.sql.schema": config.Default().Desired.SQL.Schema,
		"policy.heartbeat_period": o.heartbeat.String(),
	}
	flags := configFlags{sets: slices.Clone(o.sets)}
	for name := range devOwned {
		flags.sets = append(flags.sets, name+"="+values[name])
	}
	l, err := flags.load()
	return l.Config, err
}

// freeAddresses gives n addresses on loopback that nothing listens on. Listening for port 0 and connecting draw from
// different halves of the ephemeral ports on Linux, so they are not taken by the next connection that is made.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // when all are found: they are to differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// taken tells why an address cannot be listened on, or nil.
func taken(address string) error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.Close()
		}
		// A process that is being started holds for a moment what the one that starts it has just closed.
		if time.Since(began) > time.Second {
			return err
		}
	}
}

// newDevPeers names n nodes and finds them addresses for the cluster.
func newDevPeers(n int) ([]devPeer, error) {
	addresses, err := freeAddresses(n)
	if err != nil {
		return nil, err
	}
	peers := make([]devPeer, n)
	for i := range peers {
		peers[i] = devPeer{ID: fmt.Sprintf("hm-%d", i), Raft: addresses[i]}
	}
	return peers, nil
}
