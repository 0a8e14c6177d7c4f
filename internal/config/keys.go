package config

import (
	"strings"
	"time"

	"hm/internal/config/limits"
)

// Key describes one configuration key.
type Key struct {
	Name   string // "nats.servers"
	Unit   string // "heartbeats", or empty
	Doc    string // one sentence for people
	Secret bool   // the value is never shown
	// NotYet marks a key whose feature is not built: any value but the default is refused, never ignored.
	NotYet bool
	Later  []string // values of the key that are refused likewise

	limit limit
	field func(*Config) any // pointer to the value: *string, *[]string, *bool, *int, *float64 or *time.Duration
}

// Env is the environment variable that sets the key: nats.servers is HM_NATS_SERVERS.
func (k Key) Env() string { return "HM_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_")) }

// Want says what a value must be like: it completes the sentence "want ...".
func (k Key) Want() string { return k.limit.want }

// Keys lists every key in the order of the documentation. The caller may change the slice.
func Keys() []Key { return append([]Key(nil), keys...) }

// KeyNamed finds a key by its name. Names are lower case.
func KeyNamed(name string) (Key, bool) {
	i, ok := keyIndex[name]
	if !ok {
		return Key{}, false
	}
	return keys[i], true
}

var keyIndex = func() map[string]int {
	index := make(map[string]int, len(keys))
	for i, k := range keys {
		index[k.Name] = i
	}
	return index
}()

const beats = "heartbeats"

// maxBulkCredential is the length in bytes that desired/bulk allows for a user name and a password.
const maxBulkCredential = 1 << 10

var keys = []Key{
	{Name: "node.id", limit: nodeID(), field: func(c *Config) any { return &c.Node.ID },
		Doc: "Name of this node. It must be one of those in raft.peers and never change."},
	{Name: "node.data_dir", limit: nonEmpty("a directory"), field: func(c *Config) any { return &c.Node.DataDir },
		Doc: "Directory of the Raft log and the snapshots. No two nodes may share one."},

	{Name: "raft.listen", limit: fixedListenAddress(), field: func(c *Config) any { return &c.Raft.Listen },
		Doc: "Where this node listens for its peers: the log, the nodes' word about themselves, and writes that one forwards to another."},
	{Name: "raft.advertise", limit: either(reachableAddress()), field: func(c *Config) any { return &c.Raft.Advertise },
		Doc: "Address under which the peers reach this node, if it is not raft.listen."},
	{Name: "raft.peers", limit: peers(), field: func(c *Config) any { return &c.Raft.Peers },
		Doc: "All nodes of the cluster, this one included, as id=host:port; the same list on every node. Empty: a single node."},
	{Name: "raft.tls.cert", limit: text("a file"), field: func(c *Config) any { return &c.Raft.TLS.Cert },
		Doc: "Certificate that this node shows to its peers. raft.tls.cert, key and ca go together."},
	{Name: "raft.tls.key", limit: text("a file"), field: func(c *Config) any { return &c.Raft.TLS.Key },
		Doc: "Private key of raft.tls.cert."},
	{Name: "raft.tls.ca", limit: text("a file"), field: func(c *Config) any { return &c.Raft.TLS.CA },
		Doc: "Authority that must have signed the certificates of the peers."},
	{Name: "raft.insecure", limit: yesNo(), field: func(c *Config) any { return &c.Raft.Insecure },
		Doc: "Lets the nodes reach each other beyond loopback without raft.tls. Whoever can reach raft.listen can then change the record: true only where the network keeps everybody else away."},
	{Name: "raft.heartbeat_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout), field: func(c *Config) any { return &c.Raft.HeartbeatTimeout },
		Doc: "How long a follower hears nothing from the leader until it asks for an election."},
	{Name: "raft.election_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout), field: func(c *Config) any { return &c.Raft.ElectionTimeout },
		Doc: "How long a candidate waits for votes. Not below raft.heartbeat_timeout."},
	{Name: "raft.lease_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout), field: func(c *Config) any { return &c.Raft.LeaseTimeout },
		Doc: "How long a leader that hears from no majority goes on. Not above raft.heartbeat_timeout."},
	{Name: "raft.snapshot_interval", limit: lasting(limits.MinSnapshotInterval, 24*time.Hour), field: func(c *Config) any { return &c.Raft.SnapshotInterval },
		Doc: "How often to look whether a snapshot is due."},
	{Name: "raft.snapshot_threshold", Unit: "entries", limit: wholeFrom(1, 100_000_000), field: func(c *Config) any { return &c.Raft.SnapshotThreshold },
		Doc: "Entries since the last snapshot that make the next one due."},

	{Name: "api.listen", limit: listenAddress(), field: func(c *Config) any { return &c.API.Listen },
		Doc: "Where the HTTP API and the metrics are served. Beyond loopback only with authentication."},
	{Name: "api.advertise", limit: either(reachableAddress()), field: func(c *Config) any { return &c.API.Advertise },
		Doc: "Address under which people and their tools reach this node's API; hm status -o json shows it. Empty: api.listen, with the host of raft.advertise if that is a wildcard. The nodes do without it: they forward writes to the leader over raft.listen."},
	{Name: "api.username", limit: text("a user name without ':'"), field: func(c *Config) any { return &c.API.Username },
		Doc: "User of HTTP basic authentication. Goes with api.password."},
	{Name: "api.password", Secret: true, limit: text("a password"), field: func(c *Config) any { return &c.API.Password },
		Doc: "Password of api.username."},
	{Name: "api.tls.cert", limit: text("a file"), field: func(c *Config) any { return &c.API.TLS.Cert },
		Doc: "Certificate of the API, which is then served over HTTPS. Goes with api.tls.key."},
	{Name: "api.tls.key", limit: text("a file"), field: func(c *Config) any { return &c.API.TLS.Key },
		Doc: "Private key of api.tls.cert."},
	{Name: "api.tls.client_ca", limit: text("a file"), field: func(c *Config) any { return &c.API.TLS.ClientCA },
		Doc: "Authority that must have signed the certificates of clients. It counts as authentication."},

	{Name: "nats.servers", limit: natsServers(), field: func(c *Config) any { return &c.NATS.Servers },
		Doc: "NATS servers; any of them will do."},
	{Name: "nats.username", limit: text("a user name"), field: func(c *Config) any { return &c.NATS.Username },
		Doc: "NATS user. At most one of nats.username, nats.token and nats.creds is set."},
	{Name: "nats.password", Secret: true, limit: text("a password"), field: func(c *Config) any { return &c.NATS.Password },
		Doc: "Password of nats.username."},
	{Name: "nats.token", Secret: true, limit: text("a token"), field: func(c *Config) any { return &c.NATS.Token },
		Doc: "NATS token."},
	{Name: "nats.creds", limit: text("a file"), field: func(c *Config) any { return &c.NATS.Creds },
		Doc: "NATS credentials file (user JWT and key)."},
	{Name: "nats.tls.ca", limit: text("a file"), field: func(c *Config) any { return &c.NATS.TLS.CA },
		Doc: "Authority that must have signed the certificates of the NATS servers, if not one that the system trusts."},
	{Name: "nats.tls.cert", limit: text("a file"), field: func(c *Config) any { return &c.NATS.TLS.Cert },
		Doc: "Certificate that this node shows to NATS. Goes with nats.tls.key."},
	{Name: "nats.tls.key", limit: text("a file"), field: func(c *Config) any { return &c.NATS.TLS.Key },
		Doc: "Private key of nats.tls.cert."},
	{Name: "nats.ping_interval", limit: lasting(10*time.Millisecond, 5*time.Minute), field: func(c *Config) any { return &c.NATS.PingInterval },
		Doc: "How often the link to NATS is tested; two tests without an answer mean that it is down. The default shrinks to half of policy.freshness, but not below 1s; a value of your own must not be above that."},

	{Name: "desired.source", limit: oneOf(SourceBulk, SourceSQL), field: func(c *Config) any { return &c.Desired.Source },
		Doc: "Where the desired state is read: from the Cloud Controller's bulk API, or from its database (desired.sql; docs/ccdb.md)."},
	{Name: "desired.poll_interval", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Desired.PollInterval },
		Doc: "Time from one read of the desired state to the next, start to start."},
	{Name: "desired.ttl", Unit: beats, limit: wholeFrom(2, maxBeats), field: func(c *Config) any { return &c.Desired.TTL },
		Doc: "Time without a complete read after which the desired state is stale, and no command is sent. Above desired.poll_interval."},
	{Name: "desired.partition", limit: partition(), field: func(c *Config) any { return &c.Desired.Partition },
		Doc: "Cloud Controller partition whose bulk credentials are asked for: cloudcontroller.bulk.credentials.<partition>."},
	{Name: "desired.bulk.url", limit: httpURL(), field: func(c *Config) any { return &c.Desired.Bulk.URL },
		Doc: "Base URL of the Cloud Controller."},
	{Name: "desired.bulk.username", limit: textUpTo(maxBulkCredential, "a user name without ':'"), field: func(c *Config) any { return &c.Desired.Bulk.Username },
		Doc: "User of the bulk API. Empty: credentials are asked for over NATS."},
	{Name: "desired.bulk.password", Secret: true, limit: textUpTo(maxBulkCredential, "a password"), field: func(c *Config) any { return &c.Desired.Bulk.Password },
		Doc: "Password of desired.bulk.username."},
	{Name: "desired.bulk.batch_size", Unit: "apps", limit: wholeFrom(1, 100_000), field: func(c *Config) any { return &c.Desired.Bulk.BatchSize },
		Doc: "Apps in a page."},
	{Name: "desired.bulk.timeout", limit: lasting(10*time.Millisecond, 10*time.Minute), field: func(c *Config) any { return &c.Desired.Bulk.Timeout },
		Doc: "Longest time that one page may take, from the connection to the last byte."},
	{Name: "desired.sql.driver", limit: oneOf("postgres", "mysql", "sqlite"), field: func(c *Config) any { return &c.Desired.SQL.Driver },
		Doc: "Kind of the Cloud Controller's database."},
	{Name: "desired.sql.dsn", Secret: true, limit: lines("data source names"), field: func(c *Config) any { return &c.Desired.SQL.DSN },
		Doc: "Data source name of the Cloud Controller's database; several, on a line each, are its replicas. docs/ccdb.md has examples."},
	{Name: "desired.sql.schema", limit: oneOf("v2", "v3", "auto"), field: func(c *Config) any { return &c.Desired.SQL.Schema },
		Doc: "Shape of the tables; auto looks."},
	{Name: "desired.sql.batch_size", Unit: "rows", limit: wholeFrom(1, 100_000), field: func(c *Config) any { return &c.Desired.SQL.BatchSize },
		Doc: "Rows read at a time."},

	{Name: "policy.heartbeat_period", limit: lasting(10*time.Millisecond, maxPeriod), field: func(c *Config) any { return &c.Policy.HeartbeatPeriod },
		Doc: "Time between two heartbeats of a DEA. Every number of heartbeats counts in it."},
	{Name: "policy.heartbeat_ttl", Unit: beats, limit: wholeFrom(2, maxBeats), field: func(c *Config) any { return &c.Policy.HeartbeatTTL },
		Doc: "How long a DEA may be silent until it counts as gone."},
	{Name: "policy.freshness", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Policy.Freshness },
		Doc: "How long the link to NATS must have been up without a gap before any command is sent."},
	{Name: "policy.grace", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Policy.Grace },
		Doc: "How long an index may be missing until its start is due, and how long a command has to take effect."},
	{Name: "policy.start_limit", Unit: "commands a heartbeat", limit: wholeFrom(0, 10_000_000), field: func(c *Config) any { return &c.Policy.StartLimit },
		Doc: "Starts sent within one heartbeat period at most; 0: no limit."},
	{Name: "policy.stop_limit", Unit: "commands a heartbeat", limit: wholeFrom(0, 10_000_000), field: func(c *Config) any { return &c.Policy.StopLimit },
		Doc: "Stops sent within one heartbeat period at most; 0: no limit."},
	{Name: "policy.crashes_before_backoff", Unit: "crashes", limit: wholeFrom(0, 1000), field: func(c *Config) any { return &c.Policy.CrashesBeforeBackoff },
		Doc: "Crashes of an index that are restarted without a delay."},
	{Name: "policy.backoff_start", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Policy.BackoffStart },
		Doc: "Delay of the first restart that is delayed. It doubles with each further crash."},
	{Name: "policy.backoff_max", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Policy.BackoffMax },
		Doc: "Longest delay of a restart. Not below policy.backoff_start."},
	{Name: "policy.duplicate_grace", Unit: "times policy.grace", limit: wholeFrom(0, 100), field: func(c *Config) any { return &c.Policy.DuplicateGrace },
		Doc: "How long several copies at one index are left alone."},
	{Name: "policy.stop_yield", Unit: beats, limit: wholeFrom(0, maxBeats), field: func(c *Config) any { return &c.Policy.StopYield },
		Doc: "How long the stop of another version, or of a surplus index, waits at most while a wanted index of the app does not run; 0: HM9000's way, one grace while a start is to be sent."},
	{Name: "policy.starting_ttl", Unit: beats, limit: wholeFrom(0, maxBeats), field: func(c *Config) any { return &c.Policy.StartingTTL },
		Doc: "How long an instance may be STARTING and count as live. How long one in a state that hm does not know keeps a start away, too. 0: for ever. Else above policy.grace."},

	{Name: "guard.desired_shrink", limit: share(), field: func(c *Config) any { return &c.Guard.DesiredShrink },
		Doc: "A read that drops more than this share of the desired apps sets hold:desired-shrink; 0: off."},
	{Name: "guard.min_apps", Unit: "apps", limit: wholeFrom(0, 10_000_000), field: func(c *Config) any { return &c.Guard.MinApps },
		Doc: "With fewer desired apps than this, only a read without any sets hold:desired-shrink."},
	{Name: "guard.confirm_reads", Unit: "reads", limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Guard.ConfirmReads },
		Doc: "Further reads that agree release hold:desired-shrink; a person may do so before."},
	{Name: "guard.mass_loss", limit: share(), field: func(c *Config) any { return &c.Guard.MassLoss },
		Doc: "When more than this share of the live instances is lost without a successor within policy.heartbeat_ttl, by DEAs that " +
			"fall silent or tell shorter lists, hold:mass-loss is set; when more than this share of the desired instances was not heard " +
			"of at first, hold:first-picture. 0: off."},
	{Name: "guard.min_deas", Unit: "DEAs", limit: wholeFrom(0, 1_000_000), field: func(c *Config) any { return &c.Guard.MinDEAs },
		Doc: "With fewer DEAs than this that run anything, hold:mass-loss is never set; nor is it for what a single DEA loses, if this " +
			"is above 1. With fewer desired instances than this, hold:first-picture is not set."},
	{Name: "guard.mass_loss_hold", Unit: beats, limit: wholeFrom(1, maxBeats), field: func(c *Config) any { return &c.Guard.MassLossHold },
		Doc: "hold:mass-loss and hold:first-picture end after this time: what is gone for good must be replaced. Each loss has its " +
			"own time."},

	{Name: "commands.mode", limit: oneOf(ModeEnforce, ModeShadow), field: func(c *Config) any { return &c.Commands.Mode },
		Doc: "enforce sends commands; shadow decides and keeps a journal, but sends nothing."},
	{Name: "commands.protocol", Later: []string{ProtocolHealth, ProtocolHTTP}, limit: oneOf(ProtocolHM9000, ProtocolHealth, ProtocolHTTP), field: func(c *Config) any { return &c.Commands.Protocol },
		Doc: "How commands reach the Cloud Controller: over NATS as hm9000.start and hm9000.stop (health and http are not supported yet)."},
	{Name: "commands.cc_url", NotYet: true, limit: either(httpURL()), field: func(c *Config) any { return &c.Commands.CCURL },
		Doc: "Base URL of the Cloud Controller for protocol http."},
	{Name: "commands.claim_lease", limit: lasting(10*time.Millisecond, time.Minute), field: func(c *Config) any { return &c.Commands.ClaimLease },
		Doc: "A command that could not be published this long after it was claimed is abandoned. It bounds each publish as well, which takes 2s at most. The default shrinks to half of policy.grace; a value of your own must not be above that."},
	{Name: "commands.journal_entries", Unit: "commands", limit: wholeFrom(1, 10_000_000), field: func(c *Config) any { return &c.Commands.JournalEntries },
		Doc: "Commands kept in each node's journal. The journal is in memory: a restart empties it."},

	{Name: "heartbeats.listen", NotYet: true, limit: either(listenAddress()), field: func(c *Config) any { return &c.Heartbeats.Listen },
		Doc: "Where heartbeats are accepted over HTTPS. Empty: nowhere."},
	{Name: "heartbeats.tls.cert", NotYet: true, limit: text("a file"), field: func(c *Config) any { return &c.Heartbeats.TLS.Cert },
		Doc: "Certificate of that endpoint. Goes with heartbeats.tls.key."},
	{Name: "heartbeats.tls.key", NotYet: true, limit: text("a file"), field: func(c *Config) any { return &c.Heartbeats.TLS.Key },
		Doc: "Private key of heartbeats.tls.cert."},
	{Name: "heartbeats.tls.client_ca", NotYet: true, limit: text("a file"), field: func(c *Config) any { return &c.Heartbeats.TLS.ClientCA },
		Doc: "Authority that must have signed the certificates of the DEAs."},

	{Name: "log.level", limit: oneOf("debug", "info", "warn", "error"), field: func(c *Config) any { return &c.Log.Level },
		Doc: "Least severity that is logged."},
	{Name: "log.format", limit: oneOf("text", "json"), field: func(c *Config) any { return &c.Log.Format },
		Doc: "Form of the log lines."},
}
