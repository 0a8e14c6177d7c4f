package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
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
		Long: `Play a recording in virtual time, with the same code as the daemon: what hm would have done, and
why. A replay uses no network, no disk and no clock: the same files and the same policy always give
the same output. Several files are the parts of one recording, in order; - is standard input. hm
detects gzip and zstd by content.

The policy comes from the configuration (--config, HM_..., --set). Keys that it does not set come
from the recording's header, or have their defaults. The replayed node starts when the recording
begins, and leads unless the recording says that no node does. Its commands have no effect on the
recording; with --react simulated DEAs answer them.

With --speed 10x the recording plays ten times as fast as it happened. On a terminal it plays in the
live view, with gate, link, desired and actual state, drift, commands and events at the recording's
time. Keys: space or p pauses and continues, + and - double and halve the speed, f or the right
arrow skips ten heartbeats, q quits. At the end hm prints a summary of what was played.

Exit codes: 0 success; 1 error, such as a malformed file; 2 with --expect if the result differs.`,
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
	p.StringVar(&f.expect, "expect", "",
		"file with the expected result, as -o json prints it; members that it leaves out are not compared")
	p.StringVar(&f.from, "from", "", "show nothing before this time: RFC 3339, or 5m for five minutes after the start")
	p.StringVar(&f.until, "until", "", "stop at this time")
	p.IntVar(&f.settle, "settle", 60, "heartbeats for which the clock runs on after the last event")
	p.StringVar(&f.index, "index", "", "with --explain: "+indexUsage)
	p.StringVar(&f.explain, "explain", "", "show the history of this app, or of APP/INDEX, instead of the timeline")
	p.BoolVar(&f.react, "react", false, "let simulated DEAs answer the commands")
	p.DurationVar(&f.reactDelay, "react-delay", 0,
		"with --react: from a command to its effect; 0 for a tenth of the heartbeat period")
	p.BoolVar(&f.compare, "compare", false,
		"show which commands differ between the recording's policy and the one given here; if none is given, "+
			"between what the recorded hm sent and the replay, except for up to a fifth of a heartbeat")
	p.BoolVar(&f.truncated, "truncated", false,
		"allow files that end early because the recorder was killed, had no space left, or still records")
	p.StringVar(&f.format, "format", "hm",
		"format of the files: hm, nats-sub (the output of nats sub --timestamp) or hm9000 (a time, a subject "+
			"and the payload on each line)")
	p.StringVar(&f.desired, "desired", "",
		"with another format: JSON file of the desired apps, in the form of a recording or of the bulk API; "+
			"all reads return it")
	p.IntVar(&f.year, "year", 0, "with --format nats-sub: the year of the first message, which nats sub does not print")
	p.StringVar(&f.speed, "speed", "",
		"play at this speed, from 0.01x to 1000000x: 10x is ten times as fast as it happened; in the live "+
			"view if there is a terminal")
	p.BoolVar(&f.plain, "plain", false, "with --speed: print the timeline instead of the live view")
	return cmd
}

// replayRun is one run of hm replay.
type replayRun struct {
	*cli
	flags     replayFlags
	sources   []recording.Source
	truncated *recording.Truncations // nil if no file may end early
	header    recording.Header
	given     loaded
	until     app.Time
	target    api.Target // of --explain
	filter    liveview.Filter
	speed     float64
	early     bool // the viewer quit the live view before the end
}

// replayGC is GOGC of a replay. It keeps nearly all that it allocates, so that a smaller share of garbage costs few more
// collections, and saves a quarter of the memory.
const replayGC = 50

// runReplay plays a recording, and adds hints to its errors.
func runReplay(ctx context.Context, c *cli, f replayFlags, paths []string) error {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(replayGC))
	}
	r := &replayRun{cli: c, flags: f}
	err := r.run(ctx, paths)
	if errors.Is(err, recording.ErrTruncated) && f.format == "hm" && !f.truncated {
		return withHint(err, "--truncated plays the complete lines")
	}
	if err == nil && !r.filter.App.IsZero() && !r.filter.Found() && !r.early {
		err = withHint(fmt.Errorf("%s%s does not occur in what was played", r.filter.App, r.filter.Index),
			cmp.Or(r.target.Hint(), "--explain takes the whole guid of an app, with /INDEX for one index"))
	}
	return errors.Join(err, r.printTruncated())
}

func (r *replayRun) run(ctx context.Context, paths []string) error {
	if err := r.prepare(ctx, paths); err != nil {
		return err
	}
	if r.flags.compare {
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
	result, err := r.play(ctx, opts)
	if err != nil {
		return err
	}
	switch {
	case r.flags.expect != "":
		return r.expect(result)
	case r.json():
		_, err = r.out.Write(result.Since(r.filter.From).JSON())
		return err
	}
	return r.printSummary(result)
}

// play plays the recording without the live view. It prints the timeline, unless the output is JSON or a comparison.
func (r *replayRun) play(ctx context.Context, opts replay.Options) (replay.Result, error) {
	progress := liveview.NewProgress(r.err, r.sources)
	timeline := liveview.NewTimeline(progress.Above(r.out), r.paintTone)
	progress.Before = timeline.Flush
	opts.Progress = progress.Report
	if !r.json() && r.flags.expect == "" {
		r.printHeader()
		opts.Watch = r.filter.Watch(timeline.Add)
	}
	if r.speed > 0 {
		opts.Pace = liveview.Pace(ctx, r.speed, app.TimeOf(r.header.Started), r.filter.From, func() error {
			if err := timeline.Flush(); err != nil {
				return err
			}
			return progress.Draw()
		})
	}
	result, err := replay.Run(ctx, opts, r.sources...)
	return result, errors.Join(progress.Hide(), timeline.Flush(), err)
}

// live reports whether to play the recording in the live view.
func (r *replayRun) live() bool {
	return r.speed > 0 && !r.flags.plain && !r.json() && r.flags.expect == "" && r.terminal()
}

// playLive plays the recording in the live view until a key quits, and prints the summary of what was played.
func (r *replayRun) playLive(ctx context.Context, opts replay.Options) error {
	r.printHeader()
	played := liveview.Recording{
		About: r.about(), Sources: r.sources, Started: app.TimeOf(r.header.Started), Speed: r.speed, Filter: &r.filter,
		Options: opts,
	}
	result, early, err := played.Play(ctx, r.liveTerminal())
	if err != nil {
		return err
	}
	if r.early = early; early {
		if _, err := fmt.Fprintf(r.out, "stopped at %s, before the end\n",
			app.Time(result.Ended).Std().Format(liveview.TimeFormat)); err != nil {
			return err
		}
	}
	return r.printSummary(result)
}

// about returns the title of the live view.
func (r *replayRun) about() string {
	text := r.sources[0].Name
	if more := len(r.sources) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if r.header.Note != "" {
		text += "  " + r.header.Note
	}
	return text
}

// prepare opens the files and checks the flags.
func (r *replayRun) prepare(ctx context.Context, paths []string) (err error) {
	if r.sources, err = recording.Sources(ctx, r.in, paths...); err != nil {
		return err
	}
	if r.given, err = r.flags.config.load(); err != nil {
		return err
	}
	if err := r.prepareFormat(); err != nil {
		return err
	}
	if r.header, err = recording.ReadHeader(r.sources...); errors.Is(err, recording.ErrNoYear) {
		return withHint(err, "nats sub prints no year; give it, as in --year 2026")
	} else if err != nil {
		return err
	}
	if r.filter.From, err = r.parseTime("from", r.flags.from); err != nil {
		return err
	}
	if r.until, err = r.parseTime("until", r.flags.until); err != nil {
		return err
	}
	if r.until != 0 && r.until < r.filter.From {
		return fmt.Errorf("--until %s is before --from %s", r.flags.until, r.flags.from)
	}
	if s := r.flags.speed; s != "" {
		if r.speed, err = liveview.ParseSpeed(s); err != nil {
			return withHint(fmt.Errorf("--speed %w", err), "write --speed 10x; 0.01x to 1000000x are possible")
		}
	}
	if err := r.parseExplain(); err != nil {
		return err
	}
	return r.checkFlags()
}

// checkFlags checks the flags that need no parsing.
func (r *replayRun) checkFlags() error {
	f := r.flags
	switch {
	case f.reactDelay < 0:
		return fmt.Errorf("--react-delay %v: want 0s or more", f.reactDelay)
	case f.reactDelay > 0 && !f.react:
		return errors.New("--react-delay needs --react")
	case f.settle < 0 || f.settle > 100_000:
		return fmt.Errorf("--settle %d: want 0 to 100000 heartbeats", f.settle)
	case f.compare && (f.expect != "" || r.speed > 0 || f.explain != ""):
		return errors.New("--compare cannot be used with --expect, --explain or --speed")
	case f.expect != "" && r.filter.From != 0:
		return errors.New("--expect cannot be used with --from")
	}
	if once := slices.IndexFunc(r.sources, recording.Source.ReadOnce); once >= 0 && f.compare && r.policyGiven() {
		return withHint(fmt.Errorf("--compare with a policy plays the recording twice, and %s can be read only once",
			r.sources[once].Name),
			"write it to a file first")
	}
	return nil
}

// parseExplain parses --explain and --index.
func (r *replayRun) parseExplain() (err error) {
	if r.flags.explain == "" {
		if r.flags.index != "" {
			return errors.New("--index needs --explain")
		}
		return nil
	}
	if r.target, err = parseTarget(r.flags.explain, r.flags.index); err != nil {
		return err
	}
	if r.filter.App, err = app.ParseGUID(r.target.GUID); err != nil {
		return fmt.Errorf("--explain: %w", err)
	}
	if r.target.Index != "" {
		n, err := strconv.ParseUint(r.target.Index, 10, 32)
		if err != nil {
			return fmt.Errorf("--explain: %w", err)
		}
		r.filter.Index = fmt.Sprintf("/%d", n)
	}
	if r.json() || r.flags.expect != "" {
		return errors.New("--explain cannot be used with -o json or --expect")
	}
	return nil
}

// prepareFormat makes the sources convert files of another format. It checks the flags for that.
func (r *replayRun) prepareFormat() error {
	f := r.flags
	if f.format == "hm" {
		switch {
		case f.desired != "":
			return errors.New("--desired is for files of another format: a recording has its own reads")
		case f.year != 0:
			return errors.New("--year is for files of another format: the times of a recording have a year")
		case f.truncated:
			r.truncated = recording.AllowTruncated(r.sources)
		}
		return nil
	}
	switch {
	case !slices.Contains(recording.Formats(), f.format):
		return withHint(fmt.Errorf("--format %.20q is not known", f.format),
			"use hm, "+strings.Join(recording.Formats(), " or "))
	case f.truncated:
		return errors.New("--truncated is for recordings, not for files of another format")
	case f.year < 0 || f.year > 9999:
		return fmt.Errorf("invalid --year %d", f.year)
	}
	o := recording.ImportOptions{Format: f.format, Poll: r.given.Config.PollInterval(), Year: f.year}
	if f.desired != "" {
		read, err := recording.ReadDesired(f.desired)
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

// parseTime parses a time, or a duration since the start of the recording. An empty text gives 0.
func (r *replayRun) parseTime(flag, text string) (app.Time, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return app.TimeOf(r.header.Started.Add(d)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, withHint(fmt.Errorf("--%s %.40q is not a time", flag, text),
			fmt.Sprintf("write --%s 2026-01-15T12:01:30Z, or --%s 90s for 90 s after the start of the recording", flag, flag))
	}
	return app.TimeOf(t), nil
}

// options returns the options of a replay with the recording's policy. If given is set, the given configuration takes
// precedence over it.
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
	if err != nil { // the given configuration alone is valid
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

// policyGiven reports whether the given configuration sets a key that a replay uses.
func (r *replayRun) policyGiven() bool {
	for key := range r.given.origins {
		if recording.IsHeaderKey(key) {
			return true
		}
	}
	return false
}

// expect compares the result with the expected one.
func (r *replayRun) expect(result replay.Result) error {
	want, err := os.ReadFile(r.flags.expect)
	if err != nil {
		return fmt.Errorf("reading the expected result: %w", err)
	}
	differences, err := replay.Expect(result, want)
	if err != nil {
		return fmt.Errorf("%s: %w", r.flags.expect, err)
	}
	if err := r.printExpected(result, differences); err != nil {
		return err
	}
	if len(differences) > 0 {
		return exitCode(2)
	}
	return nil
}

// compare compares two replays with different policies. Without a given policy, it compares a replay with what the
// recorded hm sent.
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
	if !r.policyGiven() {
		c := replay.CompareWithRecorded(there, opts.Reconcile.Policy.HeartbeatPeriod, r.filter.From)
		return r.printComparison("what was sent then", "the replay", c)
	}
	if opts, err = r.options(false); err != nil {
		return err
	}
	here, err := run(opts)
	if err != nil {
		return err
	}
	return r.printComparison("the recording's policy", "the given one", replay.CompareResults(here, there, r.filter.From))
}
