package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/recording"
	"hm/internal/replay"
)

// replayFlags are the flags of hm replay.
type replayFlags struct {
	config         configFlags
	expect         string
	from, until    string
	settle         int // heartbeats
	explain, index string
	react, compare bool
	reactDelay     time.Duration
	speed          string
	plain          bool
	format         string
	desired        string
	year           int
	truncated      bool
}

func newReplayCommand(c *cli) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay FILE...",
		Short: "Play a recording in virtual time: what hm would have done, and why",
		Long: `Play a recording in virtual time through the very code of the daemon: what hm would have done, and why. No network, no
disk, no clock: the same files and the same policy print the same, byte for byte. Several files are the parts of one
recording, in the order of time; - is standard input. Whether they are compressed, by gzip or zstd, is told by content.

The policy is that of the configuration (--config, HM_..., --set); keys that it does not set are as the recording's
header has them, or else the defaults. The node that is replayed has just started when the recording begins, and leads
unless the recording says that no node does. What happened is taken as fate; with --react simulated DEAs answer the commands.

With --speed 10x it unfolds as it happened, ten times as fast: on a terminal in the live view, with gate, link, desired
and actual state, drift, commands and events in the recording's time. Keys: space or p pauses and continues, + and - double
and halve the speed, f or the right arrow plays ten heartbeats as fast as it can, q quits. What it came to by then is
printed at the end.

Exit codes: 0; 1 error, such as a malformed file (file, line, reason); with --expect 2 if the result differs.`,
		Example: `  hm replay incident.jsonl.zst
  hm replay incident.jsonl.zst --speed 10x
  ssh hm-0 cat incident.jsonl.zst | hm replay -
  hm replay incident.jsonl.zst --explain 3f2a1b4c-0d9e-4f00-8abc-0123456789ab
  hm replay incident.jsonl.zst --set policy.grace=6 --compare
  hm replay incident.jsonl.zst --compare          against the commands that the recorded hm sent
  hm replay incident.jsonl -o json > golden.json; hm replay incident.jsonl --expect golden.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(errors.New("no recording is named"), "hm replay incident.jsonl.zst, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runReplay(cmd.Context(), c, f, args) },
	}
	f.config.register(cmd)
	p := cmd.Flags()
	p.StringVar(&f.expect, "expect", "", "file with the expected result, as -o json prints it; members that it leaves out may be anything")
	p.StringVar(&f.from, "from", "", "show nothing before this time: RFC 3339, or 5m for five minutes after the start")
	p.StringVar(&f.until, "until", "", "play no further than to this time")
	p.IntVar(&f.settle, "settle", 60, "heartbeats for which the clock runs on after the last event")
	p.StringVar(&f.index, "index", "", "with --explain: "+indexUsage)
	p.StringVar(&f.explain, "explain", "", "show the trail of this app, or of APP/INDEX, through time instead of the timeline")
	p.BoolVar(&f.react, "react", false, "let simulated DEAs answer the commands, instead of taking the recording as fate")
	p.DurationVar(&f.reactDelay, "react-delay", 0, "with --react: from a command to its effect; 0 for a tenth of the heartbeat period")
	p.BoolVar(&f.compare, "compare", false, "show which commands differ between the recording's policy and the one given here; if none is given, between the replay and what the recorded hm sent, give or take a fifth of a heartbeat")
	p.BoolVar(&f.truncated, "truncated", false, "play what there is of files that end early: their recorder was killed, had no more room, or still records")
	p.StringVar(&f.format, "format", "hm", "what the files are: hm, nats-sub (the output of nats sub --timestamp) or hm9000 (a time, a subject and the payload on each line)")
	p.StringVar(&f.desired, "desired", "", "with another format: JSON file of the desired apps, as a recording or the bulk API has them; taken as read all along")
	p.IntVar(&f.year, "year", 0, "with --format nats-sub: the year of the first message, which nats sub does not print")
	p.StringVar(&f.speed, "speed", "", "watch it unfold: 10x is ten times as fast as it happened; on a terminal in the live view, whose help tells the keys")
	p.BoolVar(&f.plain, "plain", false, "with --speed: no live view, but the timeline at that speed")
	return cmd
}

// replayRun is one use of hm replay.
type replayRun struct {
	*cli
	flags   replayFlags
	sources []recording.Source
	header  recording.Header
	given   loaded
	until   app.Time
	named   api.Target
	filter  liveview.Filter
	speed   float64
	early   bool // the viewer quit the live view before the end
	cuts    cuts
}

// runReplay plays a recording, and says what can be done about one that ends early.
func runReplay(ctx context.Context, c *cli, f replayFlags, paths []string) error {
	r := &replayRun{cli: c, flags: f}
	err := r.run(ctx, paths)
	if errors.Is(err, recording.ErrTruncated) && f.format == "hm" && !f.truncated {
		return withHint(err, "--truncated plays what there is of it")
	}
	if err == nil && !r.filter.App.IsZero() && !r.filter.Found() && !r.early {
		err = withHint(fmt.Errorf("%s%s does not occur in what was played", r.filter.App, r.filter.Index), cmp.Or(r.named.Hint(), "--explain takes the whole guid of an app, and an index behind it"))
	}
	return errors.Join(err, r.cuts.tell(c.err))
}

// run plays a recording.
func (r *replayRun) run(ctx context.Context, paths []string) error {
	c, f := r.cli, r.flags
	if err := r.prepare(ctx, paths); err != nil {
		return err
	}
	if f.compare {
		return r.compare(ctx)
	}
	opts, err := r.options(true)
	if err != nil {
		return err
	}
	opts.Explain = r.filter.App
	if r.live() {
		return r.playLive(ctx, opts)
	}
	progress := liveview.NewProgress(c.err, r.sources)
	timeline := liveview.NewTimeline(progress.Above(c.out), c.paintTone)
	progress.Before = timeline.Flush
	opts.Progress = progress.Report
	if !c.json() && f.expect == "" {
		r.printHeader()
		opts.Watch = r.filter.Watch(timeline.Add)
	}
	if r.speed > 0 {
		opts.Pace = liveview.Pace(ctx, r.speed, app.TimeOf(r.header.Started), r.filter.From, func() error {
			return errors.Join(timeline.Flush(), progress.Draw())
		})
	}
	result, err := replay.Run(ctx, opts, r.sources...)
	if err := errors.Join(progress.Hide(), timeline.Flush(), err); err != nil {
		return err
	}
	switch {
	case f.expect != "":
		return r.expect(result)
	case c.json():
		_, err = c.out.Write(result.Since(r.filter.From).JSON())
		return err
	}
	return r.printSummary(result)
}

// prepare reads what the flags say.
func (r *replayRun) prepare(ctx context.Context, paths []string) (err error) {
	if r.sources, err = recording.Sources(ctx, r.in, paths...); err != nil {
		return err
	}
	if r.given, err = r.flags.config.load(); err != nil {
		return err
	}
	if err := r.convert(); err != nil {
		return err
	}
	if r.header, err = recording.ReadHeader(r.sources...); errors.Is(err, recording.ErrNoYear) {
		return withHint(err, "nats sub prints no year; say which it was, as in --year 2026")
	} else if err != nil {
		return err
	}
	if r.filter.From, err = r.moment("from", r.flags.from); err != nil {
		return err
	}
	if r.until, err = r.moment("until", r.flags.until); err != nil {
		return err
	}
	if r.until != 0 && r.until < r.filter.From {
		return fmt.Errorf("--until %s is before --from %s", r.flags.until, r.flags.from)
	}
	switch {
	case r.flags.explain != "":
		if err := r.parseExplain(); err != nil {
			return err
		}
	case r.flags.index != "":
		return errors.New("--index goes with --explain")
	}
	switch {
	case r.flags.reactDelay < 0:
		return fmt.Errorf("--react-delay %v: want no less than nothing", r.flags.reactDelay)
	case r.flags.reactDelay > 0 && !r.flags.react:
		return errors.New("--react-delay goes with --react")
	}
	if r.flags.settle < 0 || r.flags.settle > 100_000 {
		return fmt.Errorf("--settle %d: want 0 to 100000 heartbeats", r.flags.settle)
	}
	if s := r.flags.speed; s != "" {
		if r.speed, err = liveview.ParseSpeed(s); err != nil {
			return withHint(fmt.Errorf("--speed %w", err), "write --speed 10x; 0.01x to 1000000x are possible")
		}
	}
	if r.flags.compare && (r.flags.expect != "" || r.speed > 0 || !r.filter.App.IsZero()) {
		return errors.New("--compare cannot go with --expect, --explain or --speed")
	}
	if once := slices.IndexFunc(r.sources, recording.Source.ReadOnce); once >= 0 && r.flags.compare && r.policyGiven() {
		return withHint(fmt.Errorf("--compare with a policy plays the recording twice, and %s can be read only once", r.sources[once].Name), "write it to a file first")
	}
	if r.flags.expect != "" && r.filter.From != 0 {
		return errors.New("--expect cannot go with --from")
	}
	return nil
}

// parseExplain reads APP or APP/INDEX, and --index.
func (r *replayRun) parseExplain() (err error) {
	if r.named, err = parseTarget(r.flags.explain, r.flags.index); err != nil {
		return err
	}
	if r.filter.App, err = app.ParseGUID(r.named.GUID); err != nil {
		return fmt.Errorf("--explain: %w", err)
	}
	if r.named.Index != "" {
		n, err := strconv.ParseUint(r.named.Index, 10, 32)
		if err != nil {
			return fmt.Errorf("--explain: %w", err)
		}
		r.filter.Index = fmt.Sprintf("/%d", n)
	}
	if r.json() || r.flags.expect != "" {
		return errors.New("--explain is for people: it cannot go with -o json or --expect")
	}
	return nil
}

// convert has files of another format turned into recordings while they are read.
func (r *replayRun) convert() error {
	if r.flags.format == "hm" {
		switch {
		case r.flags.desired != "":
			return errors.New("--desired is for files of another format: a recording has its own reads")
		case r.flags.year != 0:
			return errors.New("--year is for files of another format: the times of a recording have one")
		case r.flags.truncated:
			r.cuts.allow(r.sources)
		}
		return nil
	}
	if !slices.Contains(recording.Formats(), r.flags.format) {
		return withHint(fmt.Errorf("--format %.20q is not known", r.flags.format), "use hm, "+strings.Join(recording.Formats(), " or "))
	}
	if r.flags.truncated {
		return errors.New("--truncated is for recordings, not for files of another format")
	}
	if r.flags.year < 0 || r.flags.year > 9999 {
		return fmt.Errorf("--year %d is no year", r.flags.year)
	}
	o := recording.ImportOptions{Format: r.flags.format, Poll: r.given.Config.PollInterval(), Year: r.flags.year}
	if r.flags.desired != "" {
		read, err := recording.ReadDesired(r.flags.desired)
		if err != nil {
			return err
		}
		o.Desired = &read
	}
	for i, s := range r.sources {
		r.sources[i] = recording.ImportSource(s, o)
	}
	return nil
}

// moment reads a time, or a time since the start of the recording.
func (r *replayRun) moment(flag, text string) (app.Time, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return app.TimeOf(r.header.Started.Add(d)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, withHint(fmt.Errorf("--%s %.40q is no time", flag, text), "write --"+flag+" 2026-01-15T12:01:30Z, or --"+flag+" 90s for 90 s after the start of the recording")
	}
	return app.TimeOf(t), nil
}

// options gives the options of a replay: by the policy of the recording, with the given configuration over it if given.
func (r *replayRun) options(given bool) (replay.Options, error) {
	cfg := config.Default()
	keep := func(string) bool { return false }
	if given {
		cfg = r.given.Config
		keep = func(key string) bool { return r.given.origins[key] != "" }
	}
	err := r.header.Configure(&cfg, keep)
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil { // what is given is valid by itself
		return replay.Options{}, &recording.Error{File: r.sources[0].Name, Line: 1, Err: err}
	}
	opts := replay.OptionsOf(cfg)
	opts.Until = r.until
	if opts.Settle = time.Duration(r.flags.settle) * cfg.Policy.HeartbeatPeriod; opts.Settle == 0 {
		opts.Settle = -1
	}
	if r.flags.react {
		opts.React = &replay.React{Delay: r.flags.reactDelay}
	}
	return opts, nil
}

// policyGiven reports whether the configuration sets anything that a replay goes by.
func (r *replayRun) policyGiven() bool {
	for key := range r.given.origins {
		if recording.IsHeaderKey(key) {
			return true
		}
	}
	return false
}

// expect holds the result against the expected one.
func (r *replayRun) expect(result replay.Result) error {
	want, err := os.ReadFile(r.flags.expect)
	if err != nil {
		return fmt.Errorf("reading the expected result: %w", err)
	}
	differences, err := replay.Expect(result, want)
	if err != nil {
		return fmt.Errorf("%s: %w", r.flags.expect, err)
	}
	if r.json() {
		if differences == nil {
			differences = []string{}
		}
		if err := r.printJSON(map[string]any{"differences": differences}); err != nil {
			return err
		}
	} else {
		for _, d := range differences {
			if _, err := fmt.Fprintln(r.out, d); err != nil {
				return err
			}
		}
		if len(differences) == 0 {
			if _, err := fmt.Fprintf(r.out, "as expected: %s, %s\n", count(len(result.Commands), "command"), count(len(result.Drift), "finding")); err != nil {
				return err
			}
		}
	}
	if len(differences) > 0 {
		return exitCode(2)
	}
	return nil
}

// compare plays the recording by two policies, or holds a replay against what was sent then.
func (r *replayRun) compare(ctx context.Context) error {
	opts, err := r.options(true)
	if err != nil {
		return err
	}
	run := func(o replay.Options) (replay.Result, error) {
		progress := liveview.NewProgress(r.err, r.sources)
		o.Progress = progress.Report
		result, err := replay.Run(ctx, o, r.sources...)
		return result, errors.Join(progress.Hide(), err)
	}
	there, err := run(opts)
	if err != nil {
		return err
	}
	hereName, thereName := "the recording's policy", "the given one"
	var here replay.Result
	if r.policyGiven() {
		if opts, err = r.options(false); err != nil {
			return err
		}
		if here, err = run(opts); err != nil {
			return err
		}
	} else {
		hereName, thereName = "what was sent then", "the replay"
		here = replay.Result{Commands: there.Recorded, Totals: replay.TotalsOf(there.Recorded, opts.Reconcile.Policy.HeartbeatPeriod)}
	}
	here, there = here.Since(r.filter.From), there.Since(r.filter.From)
	differences := replay.Compare(here.Commands, there.Commands)
	if !r.policyGiven() {
		// The daemon's clock started at another moment than the replay's, and its looks at the clock with it.
		differences = replay.IgnoreShifts(differences, (opts.Reconcile.Policy.HeartbeatPeriod / 5).Milliseconds())
	}
	if r.json() {
		if differences == nil {
			differences = []replay.Difference{}
		}
		raw, err := json.Marshal(map[string]any{"here": here.Totals, "there": there.Totals, "differences": differences})
		if err != nil {
			return fmt.Errorf("encoding the differences: %w", err)
		}
		return r.printRaw(raw)
	}
	return r.printComparison(hereName, thereName, here, there, differences, r.policyGiven())
}
