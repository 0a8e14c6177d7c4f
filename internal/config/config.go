// Package config is the configuration of hm: its keys, their defaults, and what they mean together. It reads neither
// files nor the environment; cmd/hm does. The table in keys.go is the only source of each key's name, environment
// variable, limits and documentation.
package config

import (
	"time"

	"hm/desired"
	"hm/diff"
)

// Config is the configuration of a node. Default gives a valid one. The comments name the keys.
type Config struct {
	Node       Node       // node.*
	Raft       Raft       // raft.*
	API        API        // api.*
	NATS       NATS       // nats.*
	Desired    Desired    // desired.*
	Policy     Policy     // policy.*
	Guard      Guard      // guard.*
	Commands   Commands   // commands.*
	Heartbeats Heartbeats // heartbeats.*
	Compat     Compat     // compat.*
	Log        Log        // log.*
}

// Node says who this node is.
type Node struct {
	ID      string
	DataDir string
}

// Raft says how the nodes of a cluster reach each other and agree.
type Raft struct {
	Listen            string // host:port
	Advertise         string // host:port, or empty: Listen
	Peers             []string
	Join              bool // it waits to be added to a cluster, and never founds one
	TLS               MutualTLS
	Insecure          bool // beyond loopback without TLS
	HeartbeatTimeout  time.Duration
	ElectionTimeout   time.Duration
	LeaseTimeout      time.Duration
	SnapshotInterval  time.Duration
	SnapshotThreshold int // entries
}

// MutualTLS names the files of a connection on which both sides show a certificate. All three are set, or none.
type MutualTLS struct{ Cert, Key, CA string }

// ServerTLS names the files of a TLS server. ClientCA, if set, makes it ask for client certificates.
type ServerTLS struct{ Cert, Key, ClientCA string }

// ClientTLS names the files of a TLS client. CA alone is allowed; Cert and Key go together.
type ClientTLS struct{ CA, Cert, Key string }

// API is the HTTP API, which also serves the metrics.
type API struct {
	Listen    string // host:port
	Advertise string // host:port, or empty
	Username  string // of an admin
	Password  string

	ReadUsername string // of somebody who may only read
	ReadPassword string
	AdminToken   string
	ReadToken    string
	JWT          JWT
	TLS          APITLS
	Pprof        bool // serve the profiles of the process
}

// JWT says which JWTs the API accepts. Keys or JWKSURL, if set, turns them on.
type JWT struct {
	Keys     string // file
	JWKSURL  string
	CA       string // file
	Issuer   string
	Audience string
}

// On reports whether JWTs are accepted.
func (j JWT) On() bool { return j.Keys != "" || j.JWKSURL != "" }

// APITLS is ServerTLS with the names that give a client's certificate a role.
type APITLS struct {
	Cert, Key, ClientCA   string
	AdminNames, ReadNames []string
}

// NATS is the message bus of the DEAs and the Cloud Controller.
type NATS struct {
	Servers      []string
	Username     string
	Password     string
	Token        string
	Creds        string // file
	TLS          ClientTLS
	PingInterval time.Duration
}

// Desired is where the desired state comes from.
type Desired struct {
	Source       string // bulk or sql
	PollInterval int    // heartbeats
	TTL          int    // heartbeats
	Partition    string
	Filter       desired.Filter
	Bulk         Bulk
	SQL          SQL
}

// Bulk is the Cloud Controller's bulk API.
type Bulk struct {
	URL       string
	Username  string
	Password  string
	BatchSize int           // apps in a page
	Timeout   time.Duration // of one page
}

// SQL is the Cloud Controller's database.
type SQL struct {
	Driver    string // postgres, mysql or sqlite
	DSN       string
	Schema    string // v2, v3 or auto
	BatchSize int    // rows
}

// Policy says when hm acts on drift. All of its times scale with HeartbeatPeriod.
type Policy struct {
	HeartbeatPeriod      time.Duration
	HeartbeatTTL         int // heartbeats
	Freshness            int // heartbeats
	Grace                int // heartbeats
	StartLimit           int // commands in a heartbeat period; 0: no limit
	StopLimit            int // commands in a heartbeat period; 0: no limit
	CrashesBeforeBackoff int // crashes
	BackoffStart         int // heartbeats
	BackoffMax           int // heartbeats
	DuplicateGrace       int // times Grace
	StopYield            int // heartbeats; 0: like HM9000
	StartingTTL          int // heartbeats; 0: for ever
}

// Guard says when hm holds its commands back.
type Guard struct {
	DesiredShrink float64 // share, 0 to 1; 0: off
	MinApps       int
	ConfirmReads  int
	MassLoss      float64 // share, 0 to 1; 0: off
	MinDEAs       int
	MassLossHold  int // heartbeats
}

// Commands says how start and stop commands are sent.
type Commands struct {
	Mode           string // enforce or shadow
	Protocol       string // hm9000, health or http
	CCURL          string
	CCUsername     string
	CCPassword     string
	CCCA           string // file
	ClaimLease     time.Duration
	JournalEntries int
}

// Heartbeats is the optional HTTPS endpoint for heartbeats.
type Heartbeats struct {
	Listen string // host:port, or empty: off
	TLS    ServerTLS
}

// Compat is what the health managers that hm replaces offered beside commands and app.state.
type Compat struct {
	AppStateDesired bool   // app objects have the member desired, as HM9000's had before May 2016
	Component       string // HealthManager or HM9000: the type of component that the node announces; empty: off
	Varz            Varz
}

// Varz is the HTTP endpoint of /varz and /healthz for collectors of that time.
type Varz struct {
	Listen   string // host:port, or empty: off
	Username string
	Password string
}

// Log is what the node writes to standard error.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// The values of desired.source, commands.mode, commands.protocol and compat.component.
const (
	SourceBulk     = "bulk"
	SourceSQL      = "sql"
	ModeEnforce    = "enforce"
	ModeShadow     = "shadow"
	ProtocolHM9000 = "hm9000"
	ProtocolHealth = "health"
	ProtocolHTTP   = "http"

	ComponentHealthManager = "HealthManager"
	ComponentHM9000        = "HM9000"
)

// Default gives the configuration with the default value of every key: a single node on loopback.
func Default() Config {
	return Config{
		Node: Node{ID: "hm-0", DataDir: "/var/vcap/store/hm"},
		Raft: Raft{
			Listen:           "127.0.0.1:7140",
			HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond,
			LeaseTimeout:     250 * time.Millisecond,
			SnapshotInterval: 2 * time.Minute, SnapshotThreshold: 8192,
		},
		API:  API{Listen: "127.0.0.1:5155", JWT: JWT{Audience: "hm"}},
		NATS: NATS{Servers: []string{"nats://127.0.0.1:4222"}, PingInterval: 2 * time.Second},
		Desired: Desired{
			Source: SourceBulk, PollInterval: 6, TTL: 12, Partition: "default",
			Bulk: Bulk{URL: "http://127.0.0.1:8181", BatchSize: 500, Timeout: 10 * time.Second},
			SQL:  SQL{Driver: "postgres", Schema: "auto", BatchSize: 5000},
		},
		Policy: Policy{
			HeartbeatPeriod: 10 * time.Second, HeartbeatTTL: 3, Freshness: 3, Grace: 3,
			StartLimit: 60, StopLimit: 0,
			CrashesBeforeBackoff: 3, BackoffStart: 3, BackoffMax: 96,
			DuplicateGrace: 4, StopYield: 18, StartingTTL: 30,
		},
		Guard: Guard{
			DesiredShrink: 0.5, MinApps: 20, ConfirmReads: 10,
			MassLoss: 0.5, MinDEAs: 4, MassLossHold: 30,
		},
		Commands: Commands{Mode: ModeEnforce, Protocol: ProtocolHM9000, ClaimLease: 2 * time.Second, JournalEntries: 100_000},
		Log:      Log{Level: "info", Format: "text"},
	}
}

// heartbeats converts a number of heartbeats to a duration.
func (c Config) heartbeats(n int) time.Duration { return time.Duration(n) * c.Policy.HeartbeatPeriod }

// HeartbeatTTL is how long a DEA may be silent before it counts as gone.
func (c Config) HeartbeatTTL() time.Duration { return c.heartbeats(c.Policy.HeartbeatTTL) }

// Freshness is how long the NATS link must have been up without a gap before hm believes that a silent DEA is absent.
func (c Config) Freshness() time.Duration { return c.heartbeats(c.Policy.Freshness) }

// Grace is how long an index may be missing before its start is due, and how long a sent command has to take effect.
func (c Config) Grace() time.Duration { return c.heartbeats(c.Policy.Grace) }

// StartingTTL is how long an instance may be STARTING and count as live; 0: for ever. The default grows with a long
// grace, because a start has a whole grace to take effect.
func (c Config) StartingTTL() time.Duration {
	if c.Policy.StartingTTL == 0 {
		return 0
	}
	return c.heartbeats(max(c.Policy.StartingTTL, c.Policy.Grace+1))
}

// PollInterval is the time from the start of one read of the desired state to the start of the next.
func (c Config) PollInterval() time.Duration { return c.heartbeats(c.Desired.PollInterval) }

// DesiredTTL is how long the desired state counts as fresh after a complete read.
func (c Config) DesiredTTL() time.Duration { return c.heartbeats(c.Desired.TTL) }

// MassLossHold is the longest time that hold:mass-loss and hold:first-picture last.
func (c Config) MassLossHold() time.Duration { return c.heartbeats(c.Guard.MassLossHold) }

// ClaimLease is how long after its claim a command may still be published. The default shrinks to half a grace, because
// a new leader considers a claim lost after a grace and sends the command again.
func (c Config) ClaimLease() time.Duration { return min(c.Commands.ClaimLease, c.longestLease()) }

func (c Config) longestLease() time.Duration { return c.Grace() / 2 }

// LeaseHolds is for how long after the question no other node can be elected, if a majority confirms that this node leads
// and it knows nothing else: a leader was in contact with a majority within raft.lease_timeout, and a follower waits
// raft.heartbeat_timeout after a contact before it stands for election. Raft's timers may be late by leaseSlack.
func (c Config) LeaseHolds() time.Duration {
	return max(c.Raft.HeartbeatTimeout-c.Raft.LeaseTimeout-leaseSlack, shortLease)
}

const leaseSlack = 20 * time.Millisecond

// shortLease is enough for a busy machine to publish. It counts only if raft.lease_timeout is nearly
// raft.heartbeat_timeout.
const shortLease = 50 * time.Millisecond

// PublishTimeout bounds the time to publish a batch of commands. A publish begins within the claim's lease and takes no
// longer than the lease, so it ends before the grace ends.
func (c Config) PublishTimeout() time.Duration { return min(c.ClaimLease(), maxPublish) }

// maxPublish is the longest time that other work waits for a publish.
const maxPublish = 2 * time.Second

// PingInterval is the time between two pings to the NATS server. The default shrinks to half the freshness window,
// because hm notices a dead link after two unanswered pings.
func (c Config) PingInterval() time.Duration { return min(c.NATS.PingInterval, c.longestPing()) }

func (c Config) longestPing() time.Duration { return max(c.Freshness()/2, shortPing) }

// shortPing is an interval that is never too long. With a shorter one, a busy machine looks like a dead link. If
// heartbeats are so frequent that it exceeds half the freshness window, the silence on a dead link closes the gate after
// policy.heartbeat_ttl, before the pings fail.
const shortPing = time.Second

// DiffPolicy gives the part of the policy that the decisions depend on, with durations.
func (c Config) DiffPolicy() diff.Policy {
	return diff.Policy{
		HeartbeatPeriod:      c.Policy.HeartbeatPeriod,
		Grace:                c.Grace(),
		CrashesBeforeBackoff: c.Policy.CrashesBeforeBackoff,
		BackoffStart:         c.heartbeats(c.Policy.BackoffStart),
		BackoffMax:           c.heartbeats(c.Policy.BackoffMax),
		DuplicateGrace:       c.Policy.DuplicateGrace,
		StopYield:            c.heartbeats(c.Policy.StopYield),
		StartingTTL:          c.StartingTTL(),
		Shadow:               c.Commands.Mode == ModeShadow,
	}
}
