package sim

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/desired"
	"hm/internal/app"
)

// The subjects of the Cloud Controller.
const (
	subjectHMStart        = "hm9000.start"
	subjectHMStop         = "hm9000.stop"
	subjectUpdated        = "droplet.updated"
	subjectCredentialsFor = "cloudcontroller.bulk.credentials."
	queueCC               = "cc"
)

// controller is the Cloud Controller.
type controller struct {
	opts     Options
	log      *slog.Logger
	fleet    *fleet
	timeline *timeline
	nc       *nats.Conn
	in       chan *nats.Msg

	mu      sync.Mutex
	mint    mint
	apps    *table
	faults  Faults
	history *history

	published, lost atomic.Uint64 // messages of its own; those that NATS was not there for
}

func newController(o Options, f *fleet, t *timeline) *controller {
	return &controller{opts: o, log: o.Logger, fleet: f, timeline: t, in: make(chan *nats.Msg, 65536),
		mint: newMint(o.Seed, "controller"), apps: newTable(), history: newHistory(o.History)}
}

// keepIn has the apps be kept in a table, which may have some already. New guids are then not those of the seed, which
// the apps have that are there.
func (c *controller) keepIn(apps *table) {
	c.apps = apps
	apps.moved = c.fleet.changed
	if apps.len() > 0 {
		c.mint = newMint(rand.Uint64(), "controller")
	}
}

// populate gives the apps that there are, or else makes the first ones: all STARTED and STAGED, with 1 to 2n-1
// instances each.
func (c *controller) populate(ctx context.Context, n, mean int) ([]Row, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apps.len() == 0 && n > 0 {
		rows := make([]Row, n)
		now := time.Now()
		for i := range rows {
			rows[i] = Row{GUID: c.mint.uuid(), Version: c.mint.uuid(), Instances: 1 + c.mint.IntN(2*mean-1), State: desired.Started,
				Package: desired.Staged, Droplet: true, Memory: 256, UpdatedAt: now}
		}
		if err := c.apps.insertAll(ctx, rows); err != nil {
			return nil, err
		}
	}
	return slices.Clone(c.apps.rows), nil
}

// subscribe makes the Cloud Controller reachable; it works with NATS away too.
func (c *controller) subscribe() error {
	for _, subject := range []string{subjectHMStart, subjectHMStop} {
		if _, err := c.nc.ChanQueueSubscribe(subject, queueCC, c.in); err != nil {
			return err
		}
	}
	credentials := mustJSON(struct {
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

// respond takes commands off NATS, one at a time, until ctx ends.
func (c *controller) respond(ctx context.Context) {
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
		if f.RespondentDelay > 0 && !pause(ctx, time.Duration(f.RespondentDelay)) {
			return
		}
		action := ActionStop
		if m.Subject == subjectHMStart {
			action = ActionStart
		}
		c.take(action, m.Subject, m.Data)
	}
}

// pause waits and reports whether ctx still stands.
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

// order is the body of hm9000.start and hm9000.stop (N21, N22).
type order struct {
	MessageID string    `json:"message_id"`
	Droplet   *app.GUID `json:"droplet"`
	Version   *app.GUID `json:"version"`
	Index     *int      `json:"instance_index"`
	Instance  *app.GUID `json:"instance_guid"`
	Duplicate *bool     `json:"is_duplicate"`
}

// read makes a Command of a body; ok is false if it is not JSON or lacks a key (N25).
func (o order) read(action, via string) (cmd Command, ok bool) {
	if o.Droplet == nil || o.Version == nil || o.Index == nil || *o.Index < 0 {
		return Command{}, false
	}
	cmd = Command{At: time.Now(), Via: via, MessageID: o.MessageID, Action: action, App: *o.Droplet, Version: *o.Version, Index: *o.Index}
	if action == ActionStop {
		if o.Instance == nil || o.Instance.IsZero() || o.Duplicate == nil {
			return Command{}, false
		}
		cmd.Instance, cmd.Duplicate = *o.Instance, *o.Duplicate
	}
	return cmd, true
}

// take decides on one command, records it and does what was decided.
func (c *controller) take(action, via string, body []byte) {
	var o order
	err := json.Unmarshal(body, &o)
	cmd, ok := o.read(action, via)
	if err != nil || !ok {
		c.mu.Lock()
		c.history.counts.Malformed++
		c.mu.Unlock()
		c.log.Warn("a command that cannot be read", "subject", via, "error", err)
		return
	}
	c.publish(c.decide(cmd)...)
}

// decide records a command with the Cloud Controller's decision and gives the messages that carry it out.
func (c *controller) decide(cmd Command) []post {
	c.mu.Lock()
	defer c.mu.Unlock()
	row, known := c.apps.get(cmd.App)
	key := app.Key{Droplet: cmd.App, Version: cmd.Version}
	live, lives := c.liveAt(key, cmd)
	cmd.Live = live
	var out []post
	if cmd.Action == ActionStart {
		if cmd.Accepted, cmd.Check = decideStart(row, known, cmd.Version, cmd.Index); cmd.Accepted {
			cmd.Needless = live > 0
			var p post
			if p, cmd.DEA = c.startMessage(row, cmd.Index); cmd.DEA != "" {
				if cmd.Lost = c.mint.hits(c.faults.LoseStarts); !cmd.Lost {
					out = append(out, p)
				}
			}
		}
	} else if cmd.Accepted, cmd.Check = decideStop(row, known, cmd.Version, cmd.Index, cmd.Duplicate); cmd.Accepted {
		cmd.Harmful = lives && live == 0 && known && row.Startable() && cmd.Version == row.Version && cmd.Index < row.Instances
		out = append(out, stopMessage(stopFilter{Droplet: cmd.App, Instances: []app.GUID{cmd.Instance}}))
	}
	c.history.record(cmd)
	return out
}

// liveAt counts the live instances at a command's index besides the one that it names, and reports whether that
// one is live there itself.
func (c *controller) liveAt(key app.Key, cmd Command) (others int, itself bool) {
	if cmd.Index > int(^uint32(0)>>1) {
		return 0, false
	}
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	others = c.fleet.liveAt(key, uint32(cmd.Index), cmd.Instance)
	return others, !cmd.Instance.IsZero() && c.fleet.liveAt(key, uint32(cmd.Index), app.GUID{}) > others
}

// startMessage places one instance and gives the message for the chosen DEA; dea is empty if none takes it.
func (c *controller) startMessage(row Row, index int) (p post, dea string) {
	c.fleet.mu.Lock()
	d := c.fleet.pool.pick(time.Now())
	if d != nil {
		dea = d.id
	}
	c.fleet.mu.Unlock()
	if dea == "" {
		return post{}, ""
	}
	return post{subjectDEAStart(dea), mustJSON(deaStart{Partition: c.opts.Partition, Droplet: row.GUID, Name: "app-" + row.GUID.String()[:min(8, len(row.GUID.String()))],
		Version: row.Version, Index: uint32(index), URIs: []string{}, Limits: deaLimits{Memory: row.Memory, Disk: 1024, Files: 16384}, Env: []string{}})}, dea
}

func stopMessage(s stopFilter) post { return post{subjectDEAStop, mustJSON(s)} }

// publish sends messages. What NATS is not there for is lost, as it is for a real Cloud Controller.
func (c *controller) publish(out ...post) {
	for _, p := range out {
		if !c.nc.IsConnected() || c.nc.Publish(p.subject, p.data) != nil {
			c.lost.Add(1)
			continue
		}
		c.published.Add(1)
	}
}
