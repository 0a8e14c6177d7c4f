package cc

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// The subjects of the Cloud Controller.
const (
	subjectHMStart        = "hm9000.start"
	subjectHMStop         = "hm9000.stop"
	subjectHealthStart    = "health.start"
	subjectHealthStop     = "health.stop"
	subjectUpdated        = "droplet.updated"
	subjectCredentialsFor = "cloudcontroller.bulk.credentials."
	queueCC               = "cc"
)

// Options describe a Cloud Controller. Fields that are not named as optional must be set.
type Options struct {
	DB       string // where the apps are kept: see sim.Options; empty for memory alone
	DBSchema string // SchemaV2 or SchemaV3; empty for what DB has, SchemaV3 if it is empty

	Seed                       uint64
	StagingDelay               time.Duration // how long a restage takes
	Partition                  string
	BulkUser, BulkPassword     string
	CommandUser, CommandSecret string // basic auth of commands over HTTP (N23)
	BulkAllRows                bool   // see sim.Options
	Passive                    bool   // starts and stops nothing by itself
	History                    int    // commands kept for Commands
	Logger                     *slog.Logger

	Fleet Fleet
	After func(delay time.Duration, event func()) // calls event once delay has passed
}

// Fleet is what the Cloud Controller knows of the DEAs besides messages. Its methods are called with the Cloud
// Controller locked, so they must not call it.
type Fleet interface {
	// Place chooses the DEA for one new instance; dea is empty if no DEA takes new instances.
	Place() (dea string)
	// LiveAt counts the live instances of an app at an index besides the given one, and reports whether that one is
	// live there itself.
	LiveAt(key app.Key, index uint32, instance app.GUID) (others int, itself bool)
	// IndexOf gives the index of an instance of an app; -1 if no DEA has it.
	IndexOf(droplet, instance app.GUID) int
	// AppChanged says that an app's row was made, changed or removed.
	AppChanged(guid app.GUID)
}

// Controller is the Cloud Controller. Its methods are safe for concurrent use.
type Controller struct {
	opts  Options
	log   *slog.Logger
	fleet Fleet
	nc    *nats.Conn
	in    chan *nats.Msg

	stager func() bool // whether a stager can be reached; set by Connect

	mu      sync.Mutex
	ids     wire.IDGenerator
	apps    *table
	faults  Faults
	stale   []Row // what the bulk API shows while Faults.Bulk is BulkStale
	history *history

	stagings sync.WaitGroup // that are just ending
	lost     atomic.Uint64  // messages, because NATS was away
}

// Open gives a Cloud Controller with the apps that its database has. If there are any, new guids do not come from the
// seed, which made those.
func Open(ctx context.Context, o Options) (*Controller, error) {
	apps, err := openTable(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &Controller{opts: o, log: o.Logger, fleet: o.Fleet, in: make(chan *nats.Msg, 65536), apps: apps,
		ids: wire.NewIDGenerator(o.Seed, "controller"), history: newHistory(o.History)}
	apps.changed = c.fleet.AppChanged
	if apps.len() > 0 {
		c.ids = wire.NewIDGenerator(rand.Uint64(), "controller")
	}
	return c, nil
}

// Populate gives the apps that there are, or else makes the first n: all STARTED and STAGED, with 1 to 2*mean-1
// instances each. Apps that were being staged again when an earlier simulation ended are staged to the end.
func (c *Controller) Populate(ctx context.Context, n, mean int) ([]Row, error) {
	c.mu.Lock()
	if c.apps.len() == 0 && n > 0 {
		rows := make([]Row, n)
		now := time.Now()
		for i := range rows {
			rows[i] = Row{
				GUID: c.ids.UUID(), Version: c.ids.UUID(), Instances: 1 + c.ids.IntN(2*mean-1), State: desired.Started,
				Package: desired.Staged, Droplet: true, Memory: 256, UpdatedAt: now,
			}
		}
		if err := c.apps.insertAll(ctx, rows); err != nil {
			c.mu.Unlock()
			return nil, err
		}
	}
	rows := slices.Clone(c.apps.rows)
	c.mu.Unlock()
	for _, r := range rows {
		c.fleet.AppChanged(r.GUID)
		if r.Package == desired.Pending && r.Droplet {
			c.stageLater(r, false)
		}
	}
	return rows, nil
}

// Close waits for stagings that are ending and closes the connections to NATS and to the database; from then on every
// change fails. Events of Options.After must have ended before.
func (c *Controller) Close() {
	c.stagings.Wait()
	if c.nc != nil {
		c.nc.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apps.close()
}

// DB says where the apps are kept, as desired/sqldb takes it: sqlite, postgres or mysql, and a data source name, which
// may contain a password. name is without. All are empty if it is memory alone.
func (c *Controller) DB() (driver, dsn, name string) {
	if db := c.apps.db; db != nil { // never changes
		return db.target.driver, db.target.dsn, db.target.name
	}
	return "", "", ""
}

// View reads the Cloud Controller while it is locked.
type View struct{ c *Controller }

// Read calls fn with the Cloud Controller locked, so that everything that fn reads is of one time. fn must not call
// methods of the Controller.
func (c *Controller) Read(fn func(View)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(View{c})
}

// App finds an app.
func (v View) App(guid app.GUID) (Row, bool) { return v.c.apps.get(guid) }

// Apps gives at most n apps with ids above after, in ascending order.
func (v View) Apps(after int64, n int) []Row {
	return v.c.apps.after(after, n, func(Row) bool { return true })
}

// Counts gives the commands by outcome.
func (v View) Counts() Counts { return v.c.history.total() }

// Commands gives at most n kept commands with a Seq above since, oldest first.
func (c *Controller) Commands(since uint64, n int) []Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.since(since, n)
}

// Connected reports whether NATS is up, and how many messages were lost because it was not.
func (c *Controller) Connected() (up bool, lost uint64) { return c.nc.IsConnected(), c.lost.Load() }

// SetFaults replaces the present faults.
func (c *Controller) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.Bulk != BulkStale:
		c.stale = nil
	case c.faults.Bulk != BulkStale:
		c.stale = slices.Clone(c.apps.rows)
	}
	c.faults = f
}

// Connect subscribes for commands and requests. It works while NATS is away, too. The Controller closes nc.
func (c *Controller) Connect(nc *nats.Conn) error {
	c.nc, c.stager = nc, nc.IsConnected
	for _, subject := range []string{subjectHMStart, subjectHMStop, subjectHealthStart, subjectHealthStop} {
		if _, err := c.nc.ChanQueueSubscribe(subject, queueCC, c.in); err != nil {
			return err
		}
	}
	credentials := wire.MustJSON(struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}{c.opts.BulkUser, c.opts.BulkPassword})
	_, err := c.nc.Subscribe(subjectCredentialsFor+c.opts.Partition, func(m *nats.Msg) {
		if m.Reply != "" && m.Respond(credentials) != nil {
			c.lost.Add(1)
		}
	})
	return err
}

// Respond carries out the commands from NATS, one at a time, until ctx ends.
func (c *Controller) Respond(ctx context.Context) {
	for {
		var m *nats.Msg
		select {
		case <-ctx.Done():
			return
		case m = <-c.in:
		}
		c.mu.Lock()
		f := c.faults
		if f.RespondentDeaf {
			c.history.counts.Unheard++
		}
		c.mu.Unlock()
		if f.RespondentDeaf {
			continue
		}
		if f.RespondentDelay > 0 && !pause(ctx, f.RespondentDelay) {
			return
		}
		switch m.Subject {
		case subjectHMStart:
			c.take(ActionStart, m.Subject, m.Data)
		case subjectHMStop:
			c.take(ActionStop, m.Subject, m.Data)
		default:
			c.takeHealth(m.Subject, m.Data)
		}
	}
}

// pause waits, and reports false if ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// publish sends messages. They are lost while NATS is away, like a real Cloud Controller's.
func (c *Controller) publish(out ...wire.Message) {
	for _, m := range out {
		if !c.nc.IsConnected() || c.nc.Publish(m.Subject, m.Data) != nil {
			c.lost.Add(1)
		}
	}
}
