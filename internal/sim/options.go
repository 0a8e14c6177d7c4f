package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"

	"hm/desired"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/router"
	"hm/internal/tlsfiles"
)

// Options describe the simulated Cloud Foundry. A zero value means the default that the field names; zero Apps or DEAs
// mean that there are none at first.
type Options struct {
	NATS []string // server URLs, with credentials if needed; default nats://127.0.0.1:4222
	// NATSLogin gives user and password for a connection: "hm-sim cloud controller", "hm-sim router", "hm-sim DEAs 0" and
	// so on. nil: those of the URLs.
	NATSLogin func(connection string) (user, password string)

	// DB is where the Cloud Controller keeps its apps: empty for memory alone, or a path or sqlite:PATH,
	// postgres://..., or mysql://... or mysql:user:password@tcp(host:port)/database. If an earlier simulation left apps
	// there, the simulation continues with them, whatever Apps and Seed are.
	DB       string
	DBSchema string // cc.SchemaV2 or cc.SchemaV3; default the one that DB has, or SchemaV3 if it is empty

	Apps            int    // apps at the start, all STARTED and STAGED
	InstancesPerApp int    // wanted instances of an app on average, default 2: each app gets 1 to 2n-1
	DEAs            int    // DEAs at the start
	Seed            uint64 // the same seed gives the same guids and the same layout
	ColdStart       bool   // nothing runs at the start

	HeartbeatPeriod   time.Duration // default 10 s
	StartDelay        time.Duration // STARTING to RUNNING, default a tenth of the period
	StartJitter       time.Duration // at most this much is added to StartDelay; default half of it, negative for none
	StagingDelay      time.Duration // how long a restage takes, default one period
	RestartDelay      time.Duration // how long a restarting DEA is away, default a tenth of the period
	EvacuationBailOut time.Duration // an evacuating DEA leaves after this at the latest; default 11.5 periods (N31)
	AdvertiseTTL      time.Duration // how long the CC still places on a DEA that fell silent; default one period (N28)
	CrashLifetime     time.Duration // how long a DEA lists a crash; default 360 periods (N34)
	Exits             fleet.ExitStyle
	Connections       int  // NATS connections that the DEAs share, default 4
	ConnectionPerDEA  bool // one NATS connection for each DEA instead

	// HeartbeatURLs are the endpoints to which the DEAs post their heartbeats, instead of sending them over NATS. The DEAs
	// show the certificate in HeartbeatCert and HeartbeatKey, and trust the authorities in HeartbeatCA.
	HeartbeatURLs                            []string
	HeartbeatCert, HeartbeatKey, HeartbeatCA string  // PEM files
	HeartbeatsAlsoNATS                       bool    // they send each heartbeat over NATS, too
	HeartbeatShare                           float64 // of the DEAs that post; the others send over NATS; 0: all

	// RouterListen is the TCP address of the router. Without it there is no router, and the instances serve no HTTP.
	RouterListen string
	// RouterPrunesWithoutNATS: the router forgets routes that NATS cannot refresh, as gorouter does without
	// suspend_pruning_if_nats_unavailable.
	RouterPrunesWithoutNATS bool
	RouterRegister          time.Duration // how often it asks for each route; default 2 periods, as 20 s of 10 s
	RouterStaleThreshold    time.Duration // after which it forgets a route; default 12 periods, as 120 s of 10 s
	RouterPruneInterval     time.Duration // how often it looks for such routes; default 3 periods, as 30 s of 10 s
	Requests                int           // requests a second that users send over all apps; 0: none. Needs RouterListen

	Partition                  string // default "default"
	CCListen, ControlListen    string // TCP addresses, default 127.0.0.1:0; ControlListen must be loopback
	BulkUser, BulkPassword     string // defaults "bulk_api" and "bulk-password"
	CommandUser, CommandSecret string // basic auth of commands over HTTP (N23), defaults as the bulk ones
	// BulkAllRows: the bulk API gives every row, as before July 2015, not only STARTED ones whose staging did not fail.
	BulkAllRows bool
	Passive     bool // the CC starts and stops nothing by itself: it leaves all work to the health manager
	HM9000      bool // a simulated HM9000 commands from the start: see SetNeighbour
	History     int  // commands kept for Commands, default 100,000

	Logger *slog.Logger // default: discard
}

func (o Options) withDefaults() Options {
	setStrings := func(dst *string, v string) {
		if *dst == "" {
			*dst = v
		}
	}
	setDuration := func(dst *time.Duration, v time.Duration) {
		if *dst == 0 {
			*dst = v
		}
	}
	if len(o.NATS) == 0 {
		o.NATS = []string{"nats://127.0.0.1:4222"}
	}
	if o.InstancesPerApp == 0 {
		o.InstancesPerApp = 2
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.History == 0 {
		o.History = 100_000
	}
	setDuration(&o.HeartbeatPeriod, 10*time.Second)
	setDuration(&o.StartDelay, o.HeartbeatPeriod/10)
	setDuration(&o.StartJitter, o.StartDelay/2)
	o.StartJitter = max(o.StartJitter, 0)
	setDuration(&o.StagingDelay, o.HeartbeatPeriod)
	setDuration(&o.RestartDelay, o.HeartbeatPeriod/10)
	setDuration(&o.EvacuationBailOut, o.HeartbeatPeriod*23/2)
	setDuration(&o.AdvertiseTTL, o.HeartbeatPeriod)
	setDuration(&o.CrashLifetime, 360*o.HeartbeatPeriod)
	setDuration(&o.RouterRegister, 2*o.HeartbeatPeriod)
	setDuration(&o.RouterStaleThreshold, 12*o.HeartbeatPeriod)
	setDuration(&o.RouterPruneInterval, 3*o.HeartbeatPeriod)
	setStrings(&o.Partition, "default")
	setStrings(&o.CCListen, "127.0.0.1:0")
	setStrings(&o.ControlListen, "127.0.0.1:0")
	setStrings(&o.BulkUser, "bulk_api")
	setStrings(&o.BulkPassword, "bulk-password")
	setStrings(&o.CommandUser, o.BulkUser)
	setStrings(&o.CommandSecret, o.BulkPassword)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// validate names every bad option at once.
func (o Options) validate() error {
	var errs []error
	between := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s is %d, it must be %d to %d", name, v, low, high))
		}
	}
	between("apps", o.Apps, 0, cc.MaxApps)
	between("instances per app", o.InstancesPerApp, 1, desired.MaxInstances/2)
	between("DEAs", o.DEAs, 0, fleet.MaxDEAs)
	between("connections", o.Connections, 1, 1024)
	between("history", o.History, 1, 10_000_000)
	between("requests a second", o.Requests, 0, maxRequestRate)
	if o.Requests > 0 && o.RouterListen == "" {
		errs = append(errs, errors.New("requests need a router: give it an address"))
	}
	if n := o.Apps * o.InstancesPerApp; o.RouterListen != "" && n > fleet.MaxEndpoints {
		errs = append(errs, fmt.Errorf("a router with about %d instances: each listens on a port of its own, "+
			"so that at most %d are possible; leave the router out, or have fewer apps", n, fleet.MaxEndpoints))
	}
	between("exit style", int(o.Exits), int(fleet.ExitsCrashes), int(fleet.ExitsAll))
	if o.HeartbeatPeriod < time.Millisecond {
		errs = append(errs, fmt.Errorf("heartbeat period is %s, it must be at least 1ms", o.HeartbeatPeriod))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"start delay", o.StartDelay}, {"staging delay", o.StagingDelay}, {"restart delay", o.RestartDelay},
		{"evacuation bail-out", o.EvacuationBailOut},
		{"advertise TTL", o.AdvertiseTTL}, {"crash lifetime", o.CrashLifetime},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %s, it must not be negative", d.name, d.value))
		}
	}
	if err := cc.ValidateDB(o.DB, o.DBSchema); err != nil {
		errs = append(errs, err)
	}
	if _, err := o.posting(); err != nil {
		errs = append(errs, err)
	}
	if host, _, err := net.SplitHostPort(o.ControlListen); err != nil {
		errs = append(errs, fmt.Errorf("control address %q: %w", o.ControlListen, err))
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		errs = append(errs, fmt.Errorf("control address %q is not loopback: "+
			"the control API asks for no password, so it must listen on 127.0.0.1 or ::1", o.ControlListen))
	}
	return errors.Join(errs...)
}

// posting says how the DEAs post their heartbeats; nil if they do not.
func (o Options) posting() (*fleet.Posting, error) {
	if len(o.HeartbeatURLs) == 0 {
		if o.HeartbeatCert != "" || o.HeartbeatKey != "" || o.HeartbeatCA != "" || o.HeartbeatsAlsoNATS || o.HeartbeatShare != 0 {
			return nil, errors.New("options of heartbeats over HTTPS need the URL of an endpoint")
		}
		return nil, nil
	}
	if !(o.HeartbeatShare >= 0 && o.HeartbeatShare <= 1) {
		return nil, fmt.Errorf("the share of DEAs that post heartbeats is %g, it must be 0 to 1", o.HeartbeatShare)
	}
	p := &fleet.Posting{AlsoNATS: o.HeartbeatsAlsoNATS, Share: o.HeartbeatShare}
	for _, text := range o.HeartbeatURLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("heartbeats URL %q is no https:// URL with a host", text)
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/dea/heartbeat"
		}
		p.URLs = append(p.URLs, u.String())
	}
	var err error
	p.TLS, err = tlsfiles.Client(tlsfiles.File{Key: "heartbeats CA", Path: o.HeartbeatCA},
		tlsfiles.File{Key: "heartbeats certificate", Path: o.HeartbeatCert}, tlsfiles.File{Key: "heartbeats key", Path: o.HeartbeatKey})
	return p, err
}

// fleet gives the options of the fleet.
func (o Options) fleet(dial func(string) (*nats.Conn, error), after func(time.Duration, func())) fleet.Options {
	post, _ := o.posting() // validate has checked it
	return fleet.Options{
		Seed: o.Seed, HeartbeatPeriod: o.HeartbeatPeriod, StartDelay: o.StartDelay, StartJitter: o.StartJitter,
		RestartDelay: o.RestartDelay, EvacuationBailOut: o.EvacuationBailOut, AdvertiseTTL: o.AdvertiseTTL,
		CrashLifetime: o.CrashLifetime, Exits: o.Exits,
		Serve: o.RouterListen != "", RegisterInterval: o.RouterRegister,
		Connections: o.Connections, ConnectionPerDEA: o.ConnectionPerDEA, Partition: o.Partition, Post: post,
		Logger: o.Logger, Dial: dial, After: after,
	}
}

// router gives the options of the router.
func (o Options) router(dial func(string) (*nats.Conn, error)) router.Options {
	return router.Options{
		Listen: o.RouterListen, RegisterInterval: o.RouterRegister, StaleThreshold: o.RouterStaleThreshold,
		PruneInterval: o.RouterPruneInterval, PruneWithoutNATS: o.RouterPrunesWithoutNATS, Logger: o.Logger, Dial: dial,
	}
}

// controller gives the options of the Cloud Controller.
func (o Options) controller(f cc.Fleet, after func(time.Duration, func())) cc.Options {
	return cc.Options{
		DB: o.DB, DBSchema: o.DBSchema, Seed: o.Seed, StagingDelay: o.StagingDelay, Partition: o.Partition,
		BulkUser: o.BulkUser, BulkPassword: o.BulkPassword, CommandUser: o.CommandUser, CommandSecret: o.CommandSecret,
		BulkAllRows: o.BulkAllRows, Passive: o.Passive, History: o.History, Logger: o.Logger, Fleet: f, After: after,
	}
}
