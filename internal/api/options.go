package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/access"
	"hm/internal/bus"
	"hm/internal/config/limits"
	"hm/internal/journal"
	"hm/internal/metrics"
	"hm/internal/tlsfiles"
	"hm/raftfsm"
)

// Limits of the server.
const (
	maxHeaderBytes  = 16 << 10
	maxBody         = 64 << 10 // of a write
	maxBulkBody     = 4 << 20  // of POST /bulk_app_state
	writeTimeout    = 60 * time.Second
	idleTimeout     = 2 * time.Minute
	proposeTimeout  = 10 * time.Second
	closeTimeout    = 5 * time.Second
	defaultMaxConns = 1024
)

// patience is how long a client may take to send the header of a request, and all of it, and how long a write waits for a
// leader that is being elected. Tests make it shorter.
var patience = struct{ header, request, election time.Duration }{header: 5 * time.Second, request: 30 * time.Second, election: 3 * time.Second}

// TLS names PEM files. Cert and Key together turn TLS on; ClientCA makes every client show a certificate that one
// of its authorities signed.
type TLS struct {
	Cert, Key, ClientCA   string
	AdminNames, ReadNames []string // in certificates of clients; none in both: ClientCA alone decides
}

// JWT says which JWTs count; without an issuer none does.
type JWT struct {
	Issuer, Audience string
	Keys             KeyRing // nil: none are known
}

// ways gives the ways in that the options open.
func (o Options) ways() access.Ways {
	w := access.Ways{
		Username: o.Username, Password: o.Password, ReadUsername: o.ReadUsername, ReadPassword: o.ReadPassword,
		AdminToken: o.AdminToken, ReadToken: o.ReadToken,
		Certificates: o.TLS.ClientCA != "", AdminNames: o.TLS.AdminNames, ReadNames: o.TLS.ReadNames,
	}
	if o.JWT.Issuer != "" {
		w.Tokens = &access.TokenRules{Issuer: o.JWT.Issuer, Audience: o.JWT.Audience}
	}
	return w
}

// Options configure a server.
type Options struct {
	ID       string // this node's id
	Version  string // of this program, shown in the status
	Listen   string // host:port
	Username string // of an admin. With no way in at all, everybody is an admin
	Password string
	// ReadUsername and ReadPassword are of somebody who may only read.
	ReadUsername, ReadPassword string
	AdminToken, ReadToken      string // bearer tokens
	JWT                        JWT
	TLS                        TLS
	TLSFiles                   *tlsfiles.Watcher // reads the files of TLS again when they change; nil: they are read once
	// ClusterTLS says that the nodes prove to each other who they are on the cluster's own port (raft.tls).
	ClusterTLS bool
	Pprof      bool // serve the profiles of the process at /debug/pprof/; Listen must be on loopback
	MaxConns   int  // connections at a time; default 1024. More wait to be accepted

	Node Node
	Loop Loop
	Link Link
	Lag  func() bus.Lag // how late the link is; nil: unknown
	// Proved gives how long ago the link was certainly alive, and whether that is known; nil: it is not.
	Proved  func() (ago time.Duration, known bool)
	Feed    func() FeedStats  // nil: nothing is heard
	Posts   func() *PostStats // gives nil if the node takes no heartbeats over HTTPS; nil: it never does
	Ended   *CommandTotals    // nil: not counted
	Details *CommandDetails   // nil: there are none
	CC      func() *CC        // what the node knows of the Cloud Controller to which it posts commands; nil: they go over NATS
	Times   *metrics.Times    // the histograms that the node's parts fill; nil: there are those of the API alone
	Journal Journal           // nil: the node keeps no history
	// JournalStats gives what the journal counts; nil: there is none.
	JournalStats func() journal.Stats
	Transfers    func() []Transfers // nil: none
	// Component gives what the node did as a component for collectors, and whether it is one; nil: it is none.
	Component func() (ComponentStats, bool)
	Policy    diff.Policy
	// HeartbeatTTL is how long the record may be used without a leader to answer what runs. 0: three heartbeat periods.
	HeartbeatTTL time.Duration
	// KnowsLess reports whether this node knows less of what runs than its peers. Then it leaves the questions of a
	// Cloud Controller over NATS to them, while one of them can answer. nil: it never does.
	KnowsLess func() bool
	// AppStateDesired adds the member desired to the app objects that a Cloud Controller asks for.
	AppStateDesired bool
	// Subject gives the subject on which commands of an action are published; nil or an empty subject: unknown.
	Subject func(commands.Action) string
	// Record writes a recording of what the node hears to out until ctx ends; flush sends what is buffered. nil: the
	// node offers no recordings.
	Record func(ctx context.Context, out io.Writer, flush func() error) error
	// RecordState puts the recorded state into the recording with an id; false if there is no such recording.
	RecordState func(id string) bool
	// Restore replaces the cluster's record by the state of a snapshot. nil: the node restores none.
	Restore func(ctx context.Context, state *raftfsm.State, hold raftfsm.Hold) (index uint64, err error)
	// SpoolDir is where an upload is kept until it is checked. Freshness is how long the gate stays shut at least after a
	// restore, beside the grace.
	SpoolDir  string
	Freshness time.Duration
	Compare   CompareOptions // for GET /v1/commands/compare
	// Dashboard makes the pages for people. It gets a client that asks this server without a network. nil: there are none.
	Dashboard func(*Client) http.Handler
	Logger    *slog.Logger     // nil discards
	Clock     func() time.Time // the wall clock; nil: time.Now
}

// Validate reports what is wrong with the options that come from the configuration. It reads the files that they name,
// and listens nowhere.
func (o Options) Validate() error {
	switch {
	case o.ID == "":
		return errors.New("api: the node id is empty")
	case o.ReadUsername == "" && o.ReadPassword != "":
		return errors.New("api.read_password is set and api.read_username is not: set both or none")
	case o.Username == "" && o.Password != "":
		return errors.New("api.password is set and api.username is not: set both or none")
	}
	if _, _, err := limits.HostPort(o.Listen); err != nil {
		return fmt.Errorf("api.listen %q %w", o.Listen, err)
	} else if access.New(o.ways()).Open() && !limits.Loopback(o.Listen) {
		return fmt.Errorf("api.listen %s is open beyond loopback: set api.username and api.password, or api.tls.client_ca", o.Listen)
	}
	if o.Pprof && !limits.Loopback(o.Listen) {
		return fmt.Errorf("api.pprof is true and api.listen %s is beyond loopback: listen on loopback, or leave api.pprof out", o.Listen)
	}
	_, err := o.load(nil)
	return err
}

func (o Options) complete() (Options, error) {
	if o.Node == nil || o.Loop == nil || o.Link == nil {
		return o, errors.New("api: node, loop and link must be given")
	}
	if err := o.Validate(); err != nil {
		return o, err
	}
	if o.MaxConns <= 0 {
		o.MaxConns = defaultMaxConns
	}
	if o.HeartbeatTTL <= 0 {
		o.HeartbeatTTL = 3 * o.Policy.HeartbeatPeriod
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Feed == nil {
		o.Feed = func() FeedStats { return FeedStats{} }
	}
	if o.Posts == nil {
		o.Posts = func() *PostStats { return nil }
	}
	if o.Lag == nil {
		o.Lag = func() bus.Lag { return bus.Lag{} }
	}
	if o.Proved == nil {
		o.Proved = func() (time.Duration, bool) { return 0, false }
	}
	if o.Component == nil {
		o.Component = func() (ComponentStats, bool) { return ComponentStats{}, false }
	}
	if o.Transfers == nil {
		o.Transfers = func() []Transfers { return nil }
	}
	if o.KnowsLess == nil {
		o.KnowsLess = func() bool { return false }
	}
	if o.Subject == nil {
		o.Subject = func(commands.Action) string { return "" }
	}
	if o.Times == nil {
		o.Times = metrics.NewTimes()
	}
	if o.Ended == nil {
		o.Ended = new(CommandTotals)
	}
	return o, nil
}

// load reads the files of the listening side; the set is nil without TLS. w reads them again.
func (o Options) load(w *tlsfiles.Watcher) (*tlsfiles.Set, error) {
	ask := tls.VerifyClientCertIfGiven
	if access.New(o.ways()).NeedsCertificate() {
		ask = tls.RequireAndVerifyClientCert
	}
	return w.Server("api.tls", tlsfiles.File{Key: "api.tls.cert", Path: o.TLS.Cert}, tlsfiles.File{Key: "api.tls.key", Path: o.TLS.Key},
		tlsfiles.File{Key: "api.tls.client_ca", Path: o.TLS.ClientCA}, ask)
}
