package config

import (
	"fmt"
	"slices"
	"strings"

	"hm/internal/config/limits"
)

// Validate checks every value and every combination of values. The error is nil or of type Problems, with all errors in
// the order of the keys.
func (c Config) Validate() error {
	v := validation{config: &c, bad: map[string]bool{}}
	for _, k := range keys {
		v.value(k)
	}
	v.node()
	v.raftPort()
	v.source()
	v.filter()
	v.listeners()
	v.certificates()
	v.credentials()
	v.access()
	v.overHTTP()
	v.collectors()
	v.timing()
	v.problems.Sort()
	return v.problems.err()
}

// validation collects problems. It checks a combination only if each value in it is right by itself, so it reports a
// mistake only once.
type validation struct {
	config   *Config
	problems Problems
	bad      map[string]bool // keys with a problem
}

func (v *validation) value(k Key) {
	if !k.limit.ok(k.Get(v.config)) {
		v.add(k.Name, "%s", k.limit.want)
	}
}

// add records a problem with the value of a key.
func (v *validation) add(key, format string, args ...any) {
	k, ok := KeyNamed(key)
	if !ok {
		panic("config: no key " + key)
	}
	text := k.Text(v.config)
	if text == "" {
		text = "nothing"
	}
	v.bad[key] = true
	v.problems = append(v.problems, Problem{Key: key, Value: text, Want: fmt.Sprintf(format, args...)})
}

// good reports whether none of the keys has a problem yet.
func (v *validation) good(names ...string) bool {
	for _, n := range names {
		if v.bad[n] {
			return false
		}
	}
	return true
}

func (v *validation) node() {
	c := v.config
	if !v.good("raft.peers", "node.id", "raft.listen", "raft.advertise") {
		return
	}
	peers, err := c.Raft.PeerList()
	if err != nil {
		v.add("raft.peers", "%s", err)
		return
	}
	if len(peers) == 0 {
		if host, _, _ := limits.HostPort(c.Raft.Listen); limits.Wildcard(host) && c.Raft.Advertise == "" {
			v.add("raft.listen", "an address of this machine, or raft.advertise set to one: no peer can connect to a wildcard")
		}
		return
	}
	own := ""
	for _, p := range peers {
		if p.ID == c.Node.ID {
			own = p.Address
		}
	}
	host, _, _ := limits.HostPort(c.Raft.Listen)
	switch {
	case own == "" && c.Raft.Join:
		if limits.Wildcard(host) && c.Raft.Advertise == "" {
			v.add("raft.listen", "an address of this machine, or raft.advertise set to one: no peer can connect to a wildcard")
		}
	case own == "":
		v.add("raft.peers", "a list that contains node.id (%s): it names all nodes of the cluster, including this one, unless raft.join is true", c.Node.ID)
	case limits.Wildcard(host) && c.Raft.Advertise == "":
		v.add("raft.listen", "an address of this machine, or raft.advertise set to %s: no peer can connect to a wildcard", own)
	case c.Raft.Advertise != "" && c.Raft.Advertise != own:
		v.add("raft.advertise", "%s, the address of %s in raft.peers", own, c.Node.ID)
	case c.Raft.Advertise == "" && c.Raft.Listen != own:
		v.add("raft.listen", "%s, the address of %s in raft.peers, or raft.advertise set to it", own, c.Node.ID)
	}
}

// raftPort refuses a cluster port that strangers can reach and that does not ask for certificates. Only loopback is
// safe. A peer's address beyond loopback is as open as one on which this node listens.
func (v *validation) raftPort() {
	c := v.config
	if c.Raft.Insecure || c.Raft.TLS != (MutualTLS{}) || !v.good("raft.listen", "raft.advertise", "raft.peers") {
		return
	}
	key := ""
	peers, _ := c.Raft.PeerList()
	switch {
	case !limits.Loopback(c.Raft.Listen):
		key = "raft.listen"
	case c.Raft.Advertise != "" && !limits.Loopback(c.Raft.Advertise):
		key = "raft.advertise"
	case slices.ContainsFunc(peers, func(p Peer) bool { return !limits.Loopback(p.Address) }):
		key = "raft.peers"
	default:
		return
	}
	v.add(key, "loopback addresses, or raft.tls.cert, raft.tls.key and raft.tls.ca, or raft.insecure: true "+
		"if the network lets only the nodes in: without TLS, whoever reaches the port can change the record")
}

func (v *validation) source() {
	c := v.config
	if c.Desired.Source == SourceSQL && strings.TrimSpace(c.Desired.SQL.DSN) == "" && v.good("desired.sql.dsn") {
		v.add("desired.sql.dsn", "the data source name of the Cloud Controller's database, since desired.source is sql")
	}
}

// filter refuses to filter what does not tell what it would be filtered by (D03).
func (v *validation) filter() {
	c := v.config
	if c.Desired.Source == SourceSQL && c.Desired.SQL.Schema == "v2" && len(c.Desired.Filter.IsolationSegments) > 0 &&
		v.good("desired.filter.isolation_segments") {
		v.add("desired.filter.isolation_segments", "nothing, since desired.sql.schema is v2: these tables are older than isolation segments")
	}
	if c.Desired.Source == SourceSQL || !v.good("desired.source") {
		return
	}
	for _, name := range []string{"desired.filter.isolation_segments", "desired.filter.stacks", "desired.filter.organizations"} {
		if k, _ := KeyNamed(name); !k.IsDefault(c) && v.good(name) {
			v.add(name, "nothing, or desired.source: sql: the rows of the bulk API do not say where an app belongs to")
		}
	}
}

func (v *validation) listeners() {
	c := v.config
	if v.good("api.listen") && !limits.Loopback(c.API.Listen) && !c.API.authenticates() {
		v.add("api.listen", "a loopback address, or authentication (api.username and api.password, a token, api.jwt or "+
			"api.tls.client_ca; see access.md): anyone who can reach the API can pause hm")
	}
	if v.good("api.listen") && c.API.Pprof && !limits.Loopback(c.API.Listen) {
		v.add("api.pprof", "false, or api.listen on loopback: profiles cost processor time and are for people on the machine")
	}
	mutual := c.Heartbeats.TLS.Cert != "" && c.Heartbeats.TLS.Key != "" && c.Heartbeats.TLS.ClientCA != ""
	if _, _, err := limits.HostPort(c.Heartbeats.Listen); err == nil && !limits.Loopback(c.Heartbeats.Listen) && !mutual {
		v.add("heartbeats.listen", "a loopback address, or heartbeats.tls.cert, heartbeats.tls.key and heartbeats.tls.client_ca: "+
			"without certificates of the DEAs, anyone who can reach it can invent heartbeats")
	}
}

func (v *validation) certificates() {
	c := v.config
	together := func(why string, names ...string) {
		var set, unset []string
		for _, n := range names {
			if k, _ := KeyNamed(n); *k.field(c).(*string) != "" {
				set = append(set, n)
			} else {
				unset = append(unset, n)
			}
		}
		if len(set) > 0 && len(unset) > 0 && v.good(names...) {
			v.add(unset[0], "a file, since %s is set: %s", set[0], why)
		}
	}
	together("peers show each other certificates, so all three are needed", "raft.tls.cert", "raft.tls.key", "raft.tls.ca")
	together("a certificate needs its key", "api.tls.cert", "api.tls.key")
	together("a certificate needs its key", "nats.tls.cert", "nats.tls.key")
	together("a certificate needs its key", "heartbeats.tls.cert", "heartbeats.tls.key")
	if c.API.TLS.ClientCA != "" && c.API.TLS.Cert == "" && v.good("api.tls.cert", "api.tls.key") {
		v.add("api.tls.cert", "a file, since api.tls.client_ca is set: client certificates need HTTPS")
	}
	if c.Heartbeats.TLS.ClientCA != "" && c.Heartbeats.TLS.Cert == "" && v.good("heartbeats.tls.cert", "heartbeats.tls.key") {
		v.add("heartbeats.tls.cert", "a file, since heartbeats.tls.client_ca is set: client certificates need HTTPS")
	}
}

func (v *validation) credentials() {
	c := v.config
	pair := func(prefix, username, password string) {
		switch {
		case !v.good(prefix+"username", prefix+"password"):
		case username != "" && password == "":
			v.add(prefix+"password", "a password, since %susername is set", prefix)
		case username == "" && password != "":
			v.add(prefix+"username", "a user name, since %spassword is set", prefix)
		}
	}
	pair("api.", c.API.Username, c.API.Password)
	pair("api.read_", c.API.ReadUsername, c.API.ReadPassword)
	pair("nats.", c.NATS.Username, c.NATS.Password)
	pair("desired.bulk.", c.Desired.Bulk.Username, c.Desired.Bulk.Password)
	pair("compat.varz.", c.Compat.Varz.Username, c.Compat.Varz.Password)
	pair("commands.cc_", c.Commands.CCUsername, c.Commands.CCPassword)
	for name, user := range map[string]string{
		"api.username": c.API.Username, "api.read_username": c.API.ReadUsername, "desired.bulk.username": c.Desired.Bulk.Username, "commands.cc_username": c.Commands.CCUsername,
		"compat.varz.username": c.Compat.Varz.Username,
	} {
		if v.good(name) && strings.Contains(user, ":") {
			v.add(name, "a user name without ':', which HTTP basic authentication cannot carry")
		}
	}
	var ways []string
	for _, w := range []struct{ name, value string }{
		{"nats.username", c.NATS.Username}, {"nats.token", c.NATS.Token}, {"nats.creds", c.NATS.Creds},
	} {
		if w.value != "" {
			ways = append(ways, w.name)
		}
	}
	if len(ways) > 1 {
		v.add(ways[1], "nothing, since %s is set: use one way to authenticate", ways[0])
	}
	for _, s := range c.NATS.Servers {
		if len(ways) > 0 && v.good("nats.servers") && userInURL(s) {
			v.add("nats.servers", "addresses without a user, since %s is set: use one way to authenticate", ways[0])
		}
	}
}

// collectors checks what the node offers to collectors.
func (v *validation) collectors() {
	c := v.config
	if !v.good("compat.component", "compat.varz.listen") {
		return
	}
	switch {
	case c.Compat.Component != "" && c.Compat.Varz.Listen == "":
		v.add("compat.varz.listen", "an address, since compat.component is set: the node announces where its /varz is")
	case c.Compat.Component == "" && c.Compat.Varz.Listen != "":
		v.add("compat.component", "%s or %s, since compat.varz.listen is set: it decides what /varz has",
			ComponentHealthManager, ComponentHM9000)
	}
	password := c.Compat.Varz.Password
	if password == "" || !v.good("compat.varz.password") {
		return
	}
	for _, k := range keys {
		if k.Secret && k.Name != "compat.varz.password" && k.Get(c) == any(password) {
			v.add("compat.varz.password", "another password than %s: the node announces this one on NATS", k.Name)
			return
		}
	}
}

// overHTTP checks the protocol http.
func (v *validation) overHTTP() {
	c := v.config.Commands
	if !v.good("commands.protocol", "commands.mode", "commands.cc_url") {
		return
	}
	isHTTPS := strings.HasPrefix(c.CCURL, "https:")
	switch {
	case c.Protocol == ProtocolHTTP && c.Mode == ModeShadow:
		v.add("commands.protocol", "%s or %s, since commands.mode is %s: hm hears what another health manager sends over NATS, "+
			"and cannot hear what it posts", ProtocolHM9000, ProtocolHealth, ModeShadow)
	case c.Protocol == ProtocolHTTP && c.CCURL == "":
		v.add("commands.cc_url", "the URL of the Cloud Controller, since commands.protocol is %s", ProtocolHTTP)
	case c.CCCA != "" && !isHTTPS && v.good("commands.cc_ca"):
		v.add("commands.cc_ca", "nothing, since commands.cc_url is no https:// URL")
	}
}

func (v *validation) timing() {
	c := v.config
	v.require(c.Raft.ElectionTimeout >= c.Raft.HeartbeatTimeout, "raft.election_timeout", []string{"raft.heartbeat_timeout"},
		"at least raft.heartbeat_timeout (%s)", formatDuration(c.Raft.HeartbeatTimeout))
	v.require(c.Raft.LeaseTimeout <= c.Raft.HeartbeatTimeout, "raft.lease_timeout", []string{"raft.heartbeat_timeout"},
		"at most raft.heartbeat_timeout (%s): a leader must notice that it is cut off before another is elected",
		formatDuration(c.Raft.HeartbeatTimeout))
	v.require(c.Desired.TTL > c.Desired.PollInterval, "desired.ttl", []string{"desired.poll_interval"},
		"more than desired.poll_interval (%d): the desired state would be stale before it is read again", c.Desired.PollInterval)
	v.require(c.Policy.BackoffMax >= c.Policy.BackoffStart, "policy.backoff_max", []string{"policy.backoff_start"},
		"at least policy.backoff_start (%d)", c.Policy.BackoffStart)

	// A default value is adapted instead of refused: see Config.ClaimLease, Config.PingInterval and Config.StartingTTL.
	isDefault := func(name string) bool { k, _ := KeyNamed(name); return k.IsDefault(c) }
	v.require(c.Commands.ClaimLease <= c.longestLease() || isDefault("commands.claim_lease"),
		"commands.claim_lease", []string{"policy.heartbeat_period", "policy.grace"},
		"at most half of policy.grace (%s): after a grace a claim counts as lost, and the command is sent again",
		formatDuration(c.longestLease()))
	v.require(c.NATS.PingInterval <= c.longestPing() || isDefault("nats.ping_interval"),
		"nats.ping_interval", []string{"policy.heartbeat_period", "policy.freshness"},
		"at most half of policy.freshness (%s), or %s if that is more: a dead link is noticed after two intervals",
		formatDuration(c.Freshness()/2), formatDuration(shortPing))
	v.require(c.Policy.StartingTTL == 0 || c.Policy.StartingTTL > c.Policy.Grace || isDefault("policy.starting_ttl"),
		"policy.starting_ttl", []string{"policy.grace"}, "above policy.grace (%d), or 0", c.Policy.Grace)
}

// require adds a problem with key unless ok. It adds none if key, or one of the others that ok depends on, has a problem
// already.
func (v *validation) require(ok bool, key string, others []string, format string, args ...any) {
	if !ok && v.good(key) && v.good(others...) {
		v.add(key, format, args...)
	}
}
