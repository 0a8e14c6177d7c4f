package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// row prints one row of the table.
func row(scenario, figure, format string, args ...any) {
	fmt.Printf("%-8s  %-44s  %s\n", scenario, figure, fmt.Sprintf(format, args...))
}

// cold brings hm up beside a fleet that runs: every DEA is new at once.
func cold(ctx context.Context, b *bench) error {
	began := time.Now()
	for i := range b.size.nodes {
		if err := b.startNode(i); err != nil {
			return err
		}
	}
	b.askStatus(ctx)
	var worst time.Duration
	for i := range b.nodes {
		if err := await(ctx, "everything to be recorded", 10*time.Minute, func() bool { return b.hasAll(ctx, i) }); err != nil {
			return err
		}
		worst = max(worst, time.Since(began))
	}
	row("cold", "until every node has recorded everything", "%.1f s (DEAs send once in %v)", worst.Seconds(), b.period)
	if err := await(ctx, "the gate to open", 10*time.Minute, func() bool { return b.leader(ctx) >= 0 }); err != nil {
		return err
	}
	row("cold", "until the gate is open", "%.1f s", time.Since(began).Seconds())
	for i, n := range b.nodes {
		row("cold", fmt.Sprintf("hm-%d: processor; memory, peak", i), "%.1f s; %v", n.cpu().Seconds(), n.memory())
	}
	row("cold", "slowest answer of /v1/status", "%d ms", b.slowest().Milliseconds())
	return b.showNoHarm(ctx, "cold")
}

// hasAll reports whether a node has recorded what the fleet runs.
func (b *bench) hasAll(ctx context.Context, node int) bool {
	s, err := b.status(ctx, node)
	if err != nil || s.Desired.Apps < b.apps() {
		return false
	}
	f, err := b.truth(ctx)
	return err == nil && s.Actual.Running+s.Actual.Starting >= f.Running+f.Starting && f.Running > 0
}

func steady(ctx context.Context, b *bench) error { return b.lasting(ctx, "steady", b.load(), nil) }

// changes lets instances change their states all the time.
func changes(ctx context.Context, b *bench) error {
	return b.unrest(ctx, "change", b.changing(), map[string]any{"change": b.change})
}

// crashes lets instances crash all the time. hm starts them again.
func crashes(ctx context.Context, b *bench) error {
	return b.unrest(ctx, "crash", b.crashing(), map[string]any{"crash": b.crash})
}

func (b *bench) unrest(ctx context.Context, name string, l load, unrest map[string]any) error {
	if err := b.tell(ctx, "PUT", "/unrest", unrest); err != nil {
		return err
	}
	if err := pause(ctx, 2*b.period); err != nil {
		return err
	}
	err := b.lasting(ctx, name, l, []string{"hm_heard_to_recorded_seconds", "hm_due_to_published_seconds"})
	return errors.Join(err, b.showNoHarm(ctx, name), b.tell(ctx, "PUT", "/unrest", map[string]any{}))
}

// lasting measures a window of what goes on now, which is l for the model.
func (b *bench) lasting(ctx context.Context, name string, l load, histograms []string) error {
	lead := max(b.leader(ctx), 0)
	before, err := b.figures(ctx, lead)
	if err != nil {
		return err
	}
	was, err := b.status(ctx, lead)
	if err != nil {
		return err
	}
	b.slowest()
	cpu := make([]time.Duration, len(b.nodes))
	for i, n := range b.nodes {
		n.forgetPeak()
		cpu[i] = n.cpu()
	}
	profiled := b.profile(ctx, name, lead)
	bare, server, began := b.bare.cpu(), b.nats.cpu(), time.Now()
	if err := pause(ctx, b.window); err != nil {
		return err
	}
	bare, server = b.bare.cpu()-bare, b.nats.cpu()-server
	took := time.Since(began)
	row(name, "bare subscriber; NATS server: processor", "%.2f; %.2f s", bare.Seconds(), server.Seconds())
	row(name, "a leader: the model says", "%.2f times a bare subscriber", measured.hm(l)/measured.bare(l))
	for i, n := range b.nodes {
		used := n.cpu() - cpu[i]
		what := fmt.Sprintf("hm-%d", i)
		if i == lead {
			what += ", the leader"
		}
		row(name, what+": processor", "%.2f s in %.0f s, %.2f times a bare subscriber", used.Seconds(), took.Seconds(), used.Seconds()/bare.Seconds())
		row(name, what+": memory, peak", "%v", n.memory())
		row(name, what+": files", "%s", b.files(i))
	}
	after, err := b.figures(ctx, lead)
	if err != nil {
		return err
	}
	is, err := b.status(ctx, lead)
	if err != nil {
		return err
	}
	row(name, "entries of the log", "%.0f", after.value("hm_raft_applied_index")-before.value("hm_raft_applied_index"))
	if n := is.Commands.SentStarts - was.Commands.SentStarts; n > 0 {
		row(name, "starts sent", "%d, %.0f a second", n, float64(n)/took.Seconds())
	}
	for _, h := range histograms {
		row(name, strings.TrimSuffix(strings.TrimPrefix(h, "hm_"), "_seconds"), "%s", after.since(before, h))
	}
	row(name, "slowest answer of /v1/status", "%d ms", b.slowest().Milliseconds())
	return profiled()
}

// files gives the sizes of a node's files.
func (b *bench) files(node int) string {
	sizes := map[string]int64{}
	_ = filepath.WalkDir(b.dataDir(node), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			name := d.Name()
			if strings.Contains(path, "snapshots") {
				name = "snapshots"
			}
			sizes[name] += info.Size()
		}
		return nil
	})
	return fmt.Sprintf("raft.db %d, journal.db %d, snapshots %d MiB", sizes["raft.db"]>>20, sizes["journal.db"]>>20, sizes["snapshots"]>>20)
}

// restart ends the leader with SIGKILL and starts it again, as often as asked for.
func restart(ctx context.Context, b *bench) error {
	var open, back []time.Duration // until the next gate is open, and until the node has everything again
	for range b.size.restarts {
		next, again, err := b.restartLeader(ctx)
		if err != nil {
			return err
		}
		open, back = append(open, next), append(back, again)
	}
	if b.size.nodes > 1 {
		row("restart", "leader killed, until the next gate is open", "%s", spread(open))
	}
	row("restart", "until the killed node has everything again", "%s", spread(back))
	for i, n := range b.nodes {
		row("restart", fmt.Sprintf("hm-%d: memory, peak", i), "%v", n.memory())
	}
	return b.showNoHarm(ctx, "restart")
}

// spread gives the median and the worst of some times.
func spread(all []time.Duration) string {
	slices.Sort(all)
	if len(all) == 1 {
		return fmt.Sprintf("%.2f s", all[0].Seconds())
	}
	return fmt.Sprintf("median %.2f s, worst %.2f s of %d", all[len(all)/2].Seconds(), all[len(all)-1].Seconds(), len(all))
}

// restartLeader restarts the leader once. It returns when a gate is open and every node has heard all DEAs for long enough
// to open its own.
func (b *bench) restartLeader(ctx context.Context) (next, again time.Duration, err error) {
	lead := max(b.leader(ctx), 0)
	b.slowest()
	began := time.Now()
	b.nodes[lead].end(syscall.SIGKILL)
	if b.size.nodes > 1 {
		if err := await(ctx, "the next gate to open", 5*time.Minute, func() bool {
			l := b.leader(ctx)
			return l >= 0 && l != lead
		}); err != nil {
			return 0, 0, err
		}
		next = time.Since(began)
	}
	began = time.Now()
	if err := b.startNode(lead); err != nil {
		return 0, 0, err
	}
	if err := await(ctx, "the node to have everything again", 5*time.Minute, func() bool { return b.hasAll(ctx, lead) }); err != nil {
		return 0, 0, err
	}
	again = time.Since(began)
	if err := await(ctx, "a gate to open", 10*time.Minute, func() bool { return b.leader(ctx) >= 0 }); err != nil {
		return 0, 0, err
	}
	return next, again, pause(ctx, 3*b.period+time.Second)
}

// loss lets more than half of the DEAs die, so that the guard holds. Then a person releases the hold, and all is started at once.
func loss(ctx context.Context, b *bench) error {
	lead := b.leader(ctx)
	if lead < 0 {
		return errors.New("no gate is open")
	}
	b.slowest()
	if err := b.tell(ctx, "POST", fmt.Sprintf("/deas/random/kill?count=%d", b.deas()*55/100), map[string]any{}); err != nil {
		return err
	}
	held := func() bool {
		s, err := b.status(ctx, lead)
		return err == nil && strings.Contains(strings.Join(s.Gate.Reasons, " "), "mass-loss")
	}
	if err := await(ctx, "hold:mass-loss", 10*time.Minute, held); err != nil {
		return err
	}
	profiled := b.profile(ctx, "held", lead)
	if err := pause(ctx, max(4*b.period, b.window)); err != nil {
		return err
	}
	if err := profiled(); err != nil {
		return err
	}
	s, err := b.status(ctx, lead)
	if err != nil {
		return err
	}
	row("loss", "held", "%d indices are missing, %d starts are scheduled", s.Drift.Missing, s.Commands.PendingStarts)
	row("loss", "slowest answer of /v1/status while it is held", "%d ms", b.slowest().Milliseconds())

	before, err := b.figures(ctx, lead)
	if err != nil {
		return err
	}
	sent, cpu, began := s.Commands.SentStarts, b.nodes[lead].cpu(), time.Now()
	b.nodes[lead].forgetPeak()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://"+b.apis[lead]+"/v1/holds/mass-loss", nil)
	if err != nil {
		return err
	}
	if err := b.do(req, nil); err != nil {
		return fmt.Errorf("releasing hold:mass-loss: %w", err)
	}
	profiled = b.profile(ctx, "storm", lead)
	// Those that are scheduled are due. The others are scheduled now, and their grace begins.
	due, want := s.Commands.PendingStarts, s.Drift.Missing
	if err := await(ctx, "the starts that are due", 20*time.Minute, func() bool {
		s, err := b.status(ctx, lead)
		return err == nil && s.Commands.SentStarts-sent >= due
	}); err != nil {
		return err
	}
	first := time.Since(began)
	row("loss", "released: the starts that are due are sent", "in %.1f s, %.0f a second, %.2f processors", first.Seconds(),
		float64(due)/first.Seconds(), (b.nodes[lead].cpu()-cpu).Seconds()/first.Seconds())
	if err := await(ctx, "all starts", 20*time.Minute, func() bool {
		s, err := b.status(ctx, lead)
		return err == nil && s.Commands.SentStarts-sent >= want*99/100
	}); err != nil {
		return err
	}
	took := time.Since(began)
	used := b.nodes[lead].cpu() - cpu
	memory := b.nodes[lead].memory()
	row("loss", "released: 99 % of all starts are sent", "in %.1f s, %.2f processors", took.Seconds(), used.Seconds()/took.Seconds())
	row("loss", "memory, peak", "%v", memory)
	if err := profiled(); err != nil {
		return err
	}
	after, err := b.figures(ctx, lead)
	if err != nil {
		return err
	}
	row("loss", "due_to_published", "%s", after.since(before, "hm_due_to_published_seconds"))
	row("loss", "slowest answer of /v1/status meanwhile", "%d ms", b.slowest().Milliseconds())
	if err := await(ctx, "the fleet to run as desired", 20*time.Minute, func() bool {
		f, err := b.truth(ctx)
		return err == nil && f.Missing == 0
	}); err != nil {
		return err
	}
	row("loss", "released: everything runs", "after %.1f s", time.Since(began).Seconds())
	return b.showNoHarm(ctx, "loss")
}

// showNoHarm shows that no command was needless or harmful.
func (b *bench) showNoHarm(ctx context.Context, name string) error {
	f, err := b.truth(ctx)
	if err != nil {
		return err
	}
	if f.Commands.Needless+f.Commands.Harmful > 0 {
		return fmt.Errorf("%d commands were needless and %d harmful", f.Commands.Needless, f.Commands.Harmful)
	}
	row(name, "needless or harmful commands", "0")
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
