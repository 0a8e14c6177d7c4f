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
	{
		Name: "node.id", limit: nodeID(),
		field: func(c *Config) any { return &c.Node.ID },
		Doc:   "Name of this node. It must be in raft.peers, unless raft.join is true, and it must never change.",
	},
	{
		Name: "node.data_dir", limit: nonEmpty("a directory"),
		field: func(c *Config) any { return &c.Node.DataDir },
		Doc:   "Directory of the Raft log and the snapshots. Each node needs its own.",
	},
	{
		Name: "raft.listen", limit: fixedListenAddress(),
		field: func(c *Config) any { return &c.Raft.Listen },
		Doc: "Address on which this node listens for its peers. Over it the nodes replicate the log, tell each " +
			"other their state, and forward writes to the leader.",
	},
	{
		Name: "raft.advertise", limit: either(reachableAddress()),
		field: func(c *Config) any { return &c.Raft.Advertise },
		Doc:   "Address at which the peers reach this node, if it is not raft.listen.",
	},
	{
		Name: "raft.peers", limit: peers(),
		field: func(c *Config) any { return &c.Raft.Peers },
		Doc: "All nodes of a new cluster, including this one, as id=host:port. The list is the same on every " +
			"node. Empty: a single node. Once the cluster has recorded something, its record names the members, " +
			"and hm only tells where this list differs: see hm cluster add.",
	},
	{
		Name: "raft.join", limit: yesNo(),
		field: func(c *Config) any { return &c.Raft.Join },
		Doc: "This node never founds a cluster: without a record it waits until hm cluster add makes it a member. " +
			"raft.peers may then be empty. It may stay true for ever, on every node.",
	},
	{
		Name: "raft.tls.cert", limit: text("a file"),
		field: func(c *Config) any { return &c.Raft.TLS.Cert },
		Doc: "Certificate that this node shows to its peers. raft.tls.cert, raft.tls.key and raft.tls.ca are " +
			"set together.",
	},
	{
		Name: "raft.tls.key", limit: text("a file"),
		field: func(c *Config) any { return &c.Raft.TLS.Key },
		Doc:   "Private key of raft.tls.cert.",
	},
	{
		Name: "raft.tls.ca", limit: text("a file"),
		field: func(c *Config) any { return &c.Raft.TLS.CA },
		Doc:   "Authority that must have signed the certificates of the peers.",
	},
	{
		Name: "raft.insecure", limit: yesNo(),
		field: func(c *Config) any { return &c.Raft.Insecure },
		Doc: "Lets the nodes reach each other beyond loopback without raft.tls. Then whoever can reach " +
			"raft.listen can change the record, so set it only if the network lets only the nodes in.",
	},
	{
		Name: "raft.heartbeat_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout),
		field: func(c *Config) any { return &c.Raft.HeartbeatTimeout },
		Doc:   "How long a follower waits for a sign of the leader before it starts an election.",
	},
	{
		Name: "raft.election_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout),
		field: func(c *Config) any { return &c.Raft.ElectionTimeout },
		Doc:   "How long a candidate waits for votes. At least raft.heartbeat_timeout.",
	},
	{
		Name: "raft.lease_timeout", limit: lasting(limits.MinRaftTimeout, limits.MaxRaftTimeout),
		field: func(c *Config) any { return &c.Raft.LeaseTimeout },
		Doc:   "How long a leader goes on leading without contact to a majority. At most raft.heartbeat_timeout.",
	},
	{
		Name: "raft.snapshot_interval", limit: lasting(limits.MinSnapshotInterval, 24*time.Hour),
		field: func(c *Config) any { return &c.Raft.SnapshotInterval },
		Doc:   "How often hm checks whether a snapshot is due.",
	},
	{
		Name: "raft.snapshot_threshold", Unit: "entries", limit: wholeFrom(1, 100_000_000),
		field: func(c *Config) any { return &c.Raft.SnapshotThreshold },
		Doc:   "Number of entries after which the next snapshot is due. 32 MiB of entries make it due as well.",
	},
	{
		Name: "api.listen", limit: listenAddress(),
		field: func(c *Config) any { return &c.API.Listen },
		Doc: "Address on which this node serves the HTTP API and the metrics. Beyond loopback only with " +
			"authentication.",
	},
	{
		Name: "api.advertise", limit: either(reachableAddress()),
		field: func(c *Config) any { return &c.API.Advertise },
		Doc: "Address at which people and tools on other machines reach this node's API. hm status -o json " +
			"shows it. Empty: api.listen, with the host of raft.advertise instead of a wildcard. The nodes do " +
			"not use it; they forward writes over raft.listen.",
	},
	{
		Name: "api.username", limit: text("a user name without ':'"),
		field: func(c *Config) any { return &c.API.Username },
		Doc: "User of HTTP basic authentication who may do everything (role admin; see access.md). It is set together with " +
			"api.password.",
	},
	{
		Name: "api.password", Secret: true, limit: text("a password"),
		field: func(c *Config) any { return &c.API.Password },
		Doc:   "Password of api.username.",
	},
	{
		Name: "api.read_username", limit: text("a user name without ':'"),
		field: func(c *Config) any { return &c.API.ReadUsername },
		Doc:   "User of HTTP basic authentication who may only read. It is set together with api.read_password.",
	},
	{
		Name: "api.read_password", Secret: true, limit: text("a password"),
		field: func(c *Config) any { return &c.API.ReadPassword },
		Doc:   "Password of api.read_username.",
	},
	{
		Name: "api.admin_token", Secret: true, limit: bearerToken(),
		field: func(c *Config) any { return &c.API.AdminToken },
		Doc:   "Bearer token of the role admin.",
	},
	{
		Name: "api.read_token", Secret: true, limit: bearerToken(),
		field: func(c *Config) any { return &c.API.ReadToken },
		Doc:   "Bearer token of the role read.",
	},
	{
		Name: "api.jwt.keys", limit: text("a file"),
		field: func(c *Config) any { return &c.API.JWT.Keys },
		Doc: "Public keys of UAA, or of another issuer of JWTs: PEM blocks, or a JWKS. hm reads the file again when it has " +
			"changed. With keys, JWTs with the scope hm.read or hm.admin are accepted.",
	},
	{
		Name: "api.jwt.jwks_url", limit: either(httpURL()),
		field: func(c *Config) any { return &c.API.JWT.JWKSURL },
		Doc: "URL from which hm gets these keys instead, such as https://uaa.example.com/token_keys. The last good ones are kept " +
			"in node.data_dir, so an outage of UAA locks nobody out.",
	},
	{
		Name: "api.jwt.ca", limit: text("a file"),
		field: func(c *Config) any { return &c.API.JWT.CA },
		Doc:   "Authority that must have signed the certificate of api.jwt.jwks_url. Empty: those that the system trusts.",
	},
	{
		Name: "api.jwt.issuer", limit: text("the claim iss of the tokens"),
		field: func(c *Config) any { return &c.API.JWT.Issuer },
		Doc:   "Issuer that JWTs must be from, such as https://uaa.example.com/oauth/token.",
	},
	{
		Name: "api.jwt.audience", limit: nonEmpty("a text in the claim aud of the tokens"),
		field: func(c *Config) any { return &c.API.JWT.Audience },
		Doc:   "Audience that JWTs must be for. UAA makes it of the scopes: hm.",
	},
	{
		Name: "api.tls.cert", limit: text("a file"),
		field: func(c *Config) any { return &c.API.TLS.Cert },
		Doc:   "Certificate of the API. With it the API uses HTTPS. It is set together with api.tls.key.",
	},
	{
		Name: "api.tls.key", limit: text("a file"),
		field: func(c *Config) any { return &c.API.TLS.Key },
		Doc:   "Private key of api.tls.cert.",
	},
	{
		Name: "api.tls.client_ca", limit: text("a file"),
		field: func(c *Config) any { return &c.API.TLS.ClientCA },
		Doc: "Authority that must have signed the certificates of clients. It counts as authentication. Without api.tls.admin_names " +
			"and api.tls.read_names every client must show such a certificate.",
	},
	{
		Name: "api.tls.admin_names", limit: certificateNames(),
		field: func(c *Config) any { return &c.API.TLS.AdminNames },
		Doc: "Names in certificates of clients that give the role admin: the common name, or a DNS name, URI or mail address among " +
			"the alternative names.",
	},
	{
		Name: "api.tls.read_names", limit: certificateNames(),
		field: func(c *Config) any { return &c.API.TLS.ReadNames },
		Doc:   "Names in certificates of clients that give the role read.",
	},
	{
		Name: "api.pprof", limit: yesNo(),
		field: func(c *Config) any { return &c.API.Pprof },
		Doc: "Serves the profiles of the process at /debug/pprof/, for go tool pprof, to whoever may use the API. " +
			"Only with api.listen on loopback.",
	},
	{
		Name: "nats.servers", limit: natsServers(),
		field: func(c *Config) any { return &c.NATS.Servers },
		Doc:   "NATS servers. hm uses one at a time, and tries the next one when it fails.",
	},
	{
		Name: "nats.username", limit: text("a user name"),
		field: func(c *Config) any { return &c.NATS.Username },
		Doc:   "NATS user. At most one of nats.username, nats.token and nats.creds is set.",
	},
	{
		Name: "nats.password", Secret: true, limit: text("a password"),
		field: func(c *Config) any { return &c.NATS.Password },
		Doc:   "Password of nats.username.",
	},
	{
		Name: "nats.token", Secret: true, limit: text("a token"),
		field: func(c *Config) any { return &c.NATS.Token },
		Doc:   "NATS token.",
	},
	{
		Name: "nats.creds", limit: text("a file"),
		field: func(c *Config) any { return &c.NATS.Creds },
		Doc:   "NATS credentials file (user JWT and key).",
	},
	{
		Name: "nats.tls.ca", limit: text("a file"),
		field: func(c *Config) any { return &c.NATS.TLS.CA },
		Doc: "Authority that must have signed the certificates of the NATS servers. Empty: those that the " +
			"system trusts.",
	},
	{
		Name: "nats.tls.cert", limit: text("a file"),
		field: func(c *Config) any { return &c.NATS.TLS.Cert },
		Doc:   "Certificate that this node shows to the NATS servers. It is set together with nats.tls.key.",
	},
	{
		Name: "nats.tls.key", limit: text("a file"),
		field: func(c *Config) any { return &c.NATS.TLS.Key },
		Doc:   "Private key of nats.tls.cert.",
	},
	{
		Name: "nats.ping_interval", limit: lasting(10*time.Millisecond, 5*time.Minute),
		field: func(c *Config) any { return &c.NATS.PingInterval },
		Doc: "Time between two pings to the NATS server. After two unanswered pings the link counts as down. " +
			"The default shrinks to half of policy.freshness, but not below 1s. A value that you set must not " +
			"be above that.",
	},
	{
		Name: "desired.source", limit: oneOf(SourceBulk, SourceSQL),
		field: func(c *Config) any { return &c.Desired.Source },
		Doc: "Source of the desired state: bulk is the Cloud Controller's bulk API, sql is its database " +
			"(docs/ccdb.md).",
	},
	{
		Name: "desired.poll_interval", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Desired.PollInterval },
		Doc:   "Time from the start of one read of the desired state to the start of the next.",
	},
	{
		Name: "desired.ttl", Unit: beats, limit: wholeFrom(2, maxBeats),
		field: func(c *Config) any { return &c.Desired.TTL },
		Doc: "Time after a complete read until the desired state is stale; then hm sends no command. Above " +
			"desired.poll_interval.",
	},
	{
		Name: "desired.partition", limit: partition(),
		field: func(c *Config) any { return &c.Desired.Partition },
		Doc: "Partition of the Cloud Controller. hm asks for the credentials of the bulk API on " +
			"cloudcontroller.bulk.credentials.<partition>.",
	},
	{
		Name: "desired.filter.isolation_segments", limit: filterEntries("isolation segments"),
		field: func(c *Config) any { return &c.Desired.Filter.IsolationSegments },
		Doc: "Isolation segments whose apps this cluster has, if it is one of several cells (docs/scale.md): names or guids. " +
			"\"shared\" is the segment of all apps without another one. Empty: all of them. An app must fit each filter that is " +
			"set. The filters need desired.source sql, and are the same on every node.",
	},
	{
		Name: "desired.filter.stacks", limit: filterEntries("stacks"),
		field: func(c *Config) any { return &c.Desired.Filter.Stacks },
		Doc:   "Stacks whose apps this cluster has: names or guids. Empty: all of them.",
	},
	{
		Name: "desired.filter.organizations", limit: filterEntries("organizations"),
		field: func(c *Config) any { return &c.Desired.Filter.Organizations },
		Doc: "Organizations whose apps this cluster has: names or guids. A guid stays the same when the organization is " +
			"renamed. Empty: all of them.",
	},
	{
		Name: "desired.bulk.url", limit: httpURL(),
		field: func(c *Config) any { return &c.Desired.Bulk.URL },
		Doc:   "Base URL of the Cloud Controller.",
	},
	{
		Name: "desired.bulk.username", limit: textUpTo(maxBulkCredential, "a user name without ':'"),
		field: func(c *Config) any { return &c.Desired.Bulk.Username },
		Doc:   "User of the bulk API. Empty: hm asks for the credentials over NATS.",
	},
	{
		Name: "desired.bulk.password", Secret: true, limit: textUpTo(maxBulkCredential, "a password"),
		field: func(c *Config) any { return &c.Desired.Bulk.Password },
		Doc:   "Password of desired.bulk.username.",
	},
	{
		Name: "desired.bulk.batch_size", Unit: "apps", limit: wholeFrom(1, 100_000),
		field: func(c *Config) any { return &c.Desired.Bulk.BatchSize },
		Doc:   "Number of apps in a page.",
	},
	{
		Name: "desired.bulk.timeout", limit: lasting(10*time.Millisecond, 10*time.Minute),
		field: func(c *Config) any { return &c.Desired.Bulk.Timeout },
		Doc:   "Longest time for one page, from the connection to the last byte.",
	},
	{
		Name: "desired.sql.driver", limit: oneOf("postgres", "mysql", "sqlite"),
		field: func(c *Config) any { return &c.Desired.SQL.Driver },
		Doc:   "Kind of the Cloud Controller's database.",
	},
	{
		Name: "desired.sql.dsn", Secret: true, limit: lines("data source names"),
		field: func(c *Config) any { return &c.Desired.SQL.DSN },
		Doc: "Data source name of the Cloud Controller's database. Several data source names, each on its own " +
			"line, name the replicas of one database. docs/ccdb.md has examples.",
	},
	{
		Name: "desired.sql.schema", limit: oneOf("v2", "v3", "auto"),
		field: func(c *Config) any { return &c.Desired.SQL.Schema },
		Doc:   "Version of the tables. With auto, hm detects it.",
	},
	{
		Name: "desired.sql.batch_size", Unit: "rows", limit: wholeFrom(1, 100_000),
		field: func(c *Config) any { return &c.Desired.SQL.BatchSize },
		Doc:   "Number of rows that hm reads at a time.",
	},
	{
		Name: "policy.heartbeat_period", limit: lasting(10*time.Millisecond, maxPeriod),
		field: func(c *Config) any { return &c.Policy.HeartbeatPeriod },
		Doc:   "Time between two heartbeats of a DEA. All times in heartbeats are multiples of it.",
	},
	{
		Name: "policy.heartbeat_ttl", Unit: beats, limit: wholeFrom(2, maxBeats),
		field: func(c *Config) any { return &c.Policy.HeartbeatTTL },
		Doc:   "How long a DEA may be silent before it counts as gone.",
	},
	{
		Name: "policy.freshness", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Policy.Freshness },
		Doc:   "How long the link to NATS must have been up without a gap before hm sends a command.",
	},
	{
		Name: "policy.grace", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Policy.Grace },
		Doc: "How long an index may be missing before its start is due, and how long a command has to take " +
			"effect.",
	},
	{
		Name: "policy.start_limit", Unit: "commands a heartbeat", limit: wholeFrom(0, 10_000_000),
		field: func(c *Config) any { return &c.Policy.StartLimit },
		Doc:   "Largest number of starts in one heartbeat period. 0: no limit.",
	},
	{
		Name: "policy.stop_limit", Unit: "commands a heartbeat", limit: wholeFrom(0, 10_000_000),
		field: func(c *Config) any { return &c.Policy.StopLimit },
		Doc:   "Largest number of stops in one heartbeat period. 0: no limit.",
	},
	{
		Name: "policy.crashes_before_backoff", Unit: "crashes", limit: wholeFrom(0, 1000),
		field: func(c *Config) any { return &c.Policy.CrashesBeforeBackoff },
		Doc:   "Number of crashes of an index that hm restarts without a delay.",
	},
	{
		Name: "policy.backoff_start", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Policy.BackoffStart },
		Doc:   "Delay of the first delayed restart. It doubles with each further crash.",
	},
	{
		Name: "policy.backoff_max", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Policy.BackoffMax },
		Doc:   "Longest delay of a restart. At least policy.backoff_start.",
	},
	{
		Name: "policy.duplicate_grace", Unit: "times policy.grace", limit: wholeFrom(0, 100),
		field: func(c *Config) any { return &c.Policy.DuplicateGrace },
		Doc:   "How long hm leaves several copies at one index alone.",
	},
	{
		Name: "policy.stop_yield", Unit: beats, limit: wholeFrom(0, maxBeats),
		field: func(c *Config) any { return &c.Policy.StopYield },
		Doc: "Longest time that the stop of another version or of a surplus index waits while a wanted index " +
			"of the app does not run. 0: as HM9000 does, one grace while a start waits to be sent.",
	},
	{
		Name: "policy.starting_ttl", Unit: beats, limit: wholeFrom(0, maxBeats),
		field: func(c *Config) any { return &c.Policy.StartingTTL },
		Doc: "How long an instance in the state STARTING counts as live, and how long an instance in an " +
			"unknown state prevents a start at its index. 0: for ever. Otherwise above policy.grace.",
	},
	{
		Name: "guard.desired_shrink", limit: share(),
		field: func(c *Config) any { return &c.Guard.DesiredShrink },
		Doc:   "A read that drops more than this share of the desired apps sets hold:desired-shrink; 0: off.",
	},
	{
		Name: "guard.min_apps", Unit: "apps", limit: wholeFrom(0, 10_000_000),
		field: func(c *Config) any { return &c.Guard.MinApps },
		Doc:   "With fewer desired apps than this, only a read without any app sets hold:desired-shrink.",
	},
	{
		Name: "guard.confirm_reads", Unit: "reads", limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Guard.ConfirmReads },
		Doc: "Number of further reads that must agree to release hold:desired-shrink. A person can release it " +
			"earlier.",
	},
	{
		Name: "guard.mass_loss", limit: share(),
		field: func(c *Config) any { return &c.Guard.MassLoss },
		Doc: "If DEAs lose more than this share of the live instances within policy.heartbeat_ttl, by silence " +
			"or with shorter lists, and no successor runs, hm sets hold:mass-loss. If more than this share of " +
			"the desired instances is absent from the first picture, hm sets hold:first-picture. 0: off.",
	},
	{
		Name: "guard.min_deas", Unit: "DEAs", limit: wholeFrom(0, 1_000_000),
		field: func(c *Config) any { return &c.Guard.MinDEAs },
		Doc: "With fewer DEAs than this that run instances, hm never sets hold:mass-loss. Above 1, hm never " +
			"sets it for the loss of a single DEA either. With fewer desired instances than this, hm does not " +
			"set hold:first-picture.",
	},
	{
		Name: "guard.mass_loss_hold", Unit: beats, limit: wholeFrom(1, maxBeats),
		field: func(c *Config) any { return &c.Guard.MassLossHold },
		Doc: "hold:mass-loss and hold:first-picture end after this time, because instances that are gone for " +
			"good must be replaced. Each loss has its own time.",
	},
	{
		Name: "commands.mode", limit: oneOf(ModeEnforce, ModeShadow),
		field: func(c *Config) any { return &c.Commands.Mode },
		Doc: "enforce sends commands; shadow decides and keeps a journal, but sends nothing, and hears what another " +
			"health manager sends: see hm commands compare.",
	},
	{
		Name:  "commands.protocol",
		limit: oneOf(ProtocolHM9000, ProtocolHealth, ProtocolHTTP),
		field: func(c *Config) any { return &c.Commands.Protocol },
		Doc: "How commands reach the Cloud Controller: hm9000 sends hm9000.start and hm9000.stop over NATS; health sends " +
			"health.start and health.stop over NATS, as HealthManager 2.0 did, to a Cloud Controller that knows no others; " +
			"http posts to commands.cc_url. In shadow mode it says which messages to hear, and http is not allowed. See protocols.md.",
	},
	{
		Name: "commands.cc_url", limit: either(httpURL()),
		field: func(c *Config) any { return &c.Commands.CCURL },
		Doc: "Base URL of the Cloud Controller for the protocol http. HM9000 calls it cc_internal_url. hm follows no " +
			"redirect.",
	},
	{
		Name: "commands.cc_username", limit: textUpTo(maxBulkCredential, "a user name without ':'"),
		field: func(c *Config) any { return &c.Commands.CCUsername },
		Doc:   "User of the Cloud Controller's internal API. HM9000 calls it api_server_username.",
	},
	{
		Name: "commands.cc_password", Secret: true, limit: textUpTo(maxBulkCredential, "a password"),
		field: func(c *Config) any { return &c.Commands.CCPassword },
		Doc:   "Password of commands.cc_username. The two are set together.",
	},
	{
		Name: "commands.cc_ca", limit: text("a file"),
		field: func(c *Config) any { return &c.Commands.CCCA },
		Doc:   "Authority that must have signed the certificate of an https commands.cc_url. Empty: those that the system trusts.",
	},
	{
		Name: "commands.claim_lease", limit: lasting(10*time.Millisecond, time.Minute),
		field: func(c *Config) any { return &c.Commands.ClaimLease },
		Doc: "How long after its claim a command may be published; then hm abandons it. It also bounds each " +
			"publish, which takes at most 2s. The default shrinks to half of policy.grace. A value that you " +
			"set must not be above that.",
	},
	{
		Name: "commands.journal_entries", Unit: "events", limit: wholeFrom(1, 10_000_000),
		field: func(c *Config) any { return &c.Commands.JournalEntries },
		Doc: "How many events each node keeps in the file journal.db of node.data_dir: so many of commands, and " +
			"as many of crashes and of another health manager's commands; half as many of DEAs, and of everything " +
			"else. The oldest go first. The events take at most 256 MiB.",
	},
	{
		Name: "heartbeats.listen", limit: either(listenAddress()),
		field: func(c *Config) any { return &c.Heartbeats.Listen },
		Doc: "Address on which this node takes heartbeats over HTTPS (POST /dea/heartbeat), for DEAs that do not send " +
			"them over NATS. HM9000 used port 5335. It tells the other nodes what it hears. Empty: none.",
	},
	{
		Name: "heartbeats.tls.cert", limit: text("a file"),
		field: func(c *Config) any { return &c.Heartbeats.TLS.Cert },
		Doc: "Certificate of that endpoint, for the name or address by which the DEAs reach it. It is set together with " +
			"heartbeats.tls.key.",
	},
	{
		Name: "heartbeats.tls.key", limit: text("a file"),
		field: func(c *Config) any { return &c.Heartbeats.TLS.Key },
		Doc:   "Private key of heartbeats.tls.cert.",
	},
	{
		Name: "heartbeats.tls.client_ca", limit: text("a file"),
		field: func(c *Config) any { return &c.Heartbeats.TLS.ClientCA },
		Doc: "Authority that must have signed the certificates of the DEAs. With it a DEA without such a certificate " +
			"is refused. It is needed beyond loopback.",
	},
	{
		Name: "compat.app_state_desired", limit: yesNo(),
		field: func(c *Config) any { return &c.Compat.AppStateDesired },
		Doc: "Adds the member desired to the app objects of app.state, app.state.bulk and POST /bulk_app_state " +
			"whose app is desired, as HM9000 did until May 2016. Set it the same on every node.",
	},
	{
		Name: "compat.component", limit: either(oneOf(ComponentHealthManager, ComponentHM9000)),
		field: func(c *Config) any { return &c.Compat.Component },
		Doc: "Type of component under which this node answers vcap.component.discover and announces itself on " +
			"vcap.component.announce; it also decides what /varz has. It is set together with compat.varz.listen. " +
			"Empty: the node does neither. See collectors.md.",
	},
	{
		Name: "compat.varz.listen", limit: either(listenAddress()),
		field: func(c *Config) any { return &c.Compat.Varz.Listen },
		Doc: "Address on which this node serves /varz and /healthz to collectors, over plain HTTP with basic " +
			"authentication. Port 0: a free one. On a wildcard, the node announces the host of raft.advertise or " +
			"raft.listen, or of api.advertise if those are loopback. Empty: none.",
	},
	{
		Name: "compat.varz.username", limit: text("a user name without ':'"),
		field: func(c *Config) any { return &c.Compat.Varz.Username },
		Doc: "User of /varz and /healthz. The node announces it, with the password, to whoever listens on NATS. " +
			"Empty: user and password are random, and new at each start.",
	},
	{
		Name: "compat.varz.password", Secret: true, limit: text("a password"),
		field: func(c *Config) any { return &c.Compat.Varz.Password },
		Doc:   "Password of compat.varz.username. It must be no password of another key, because it is announced.",
	},
	{
		Name: "log.level", limit: oneOf("debug", "info", "warn", "error"),
		field: func(c *Config) any { return &c.Log.Level },
		Doc:   "Lowest severity that hm logs.",
	},
	{
		Name: "log.format", limit: oneOf("text", "json"),
		field: func(c *Config) any { return &c.Log.Format },
		Doc:   "Form of the log lines.",
	},
}
