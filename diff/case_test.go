package diff_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// The cases under testdata are written in a small language with one fact a line. Times are relative to the decision:
// -10s is ten seconds ago. A value after "default" holds if the fact does not give one.
//
//	desired 3 STAGED            three instances wanted; STAGED, PENDING or FAILED; then STOPPED if not STARTED
//	desired none                the last complete read did not have the app
//	desired elsewhere           the droplet is desired in another version
//	desired elsewhere lacking   and an index that is wanted there does not run; quiet: its DEA has missed a heartbeat
//	0 RUNNING a heard=-1m       instance a at index 0; heard, default -1m: when it was recorded so; since, default -1h
//	1 CRASHED b counted         its crash was counted, as it is if a crash record is of it; or answered
//	crash 1 x4 last=-10s of=b   crash record of index 1; also exited=G (exitedat=-1s, default now; by=DEA_SHUTDOWN, default
//	                            CRASHED), running=-60s (RunningSince), ran=60s, answered, tries=3 (tried=-10s)
//	unplaced -10s               an entry of the app without a readable index was first heard then
//	start 1 MISSING due=+10s    a pending start; sent=-10s instead of due makes it a sent one; of=b: for crash b; made=-1m
//	                            when it was scheduled, tries=2 how many were sent before it
//	stop c 1 DUPLICATE sent=-5s a stop of instance c
//	foreign                     no version is recorded here as wanted, and another cell may have the app
//	grew -20s                   when an instance was last added; "grew never"; default -1h
//	other grew -5s              the same for another version with live instances; default: none has any
//	read -5s                    when the newest complete read was begun; "read none"; default -20s
//	read failing                and the newest attempt failed
//	read underway               and a newer one is under way
//	held nats-down              the gate is closed
//
// After the facts come the findings, and then the plan.

const (
	t0        = app.Time(1_700_000_000_000)
	heartbeat = 10 * time.Second
)

// policy is the default policy.
var policy = diff.Policy{
	HeartbeatPeriod: heartbeat, Grace: 3 * heartbeat, CrashesBeforeBackoff: 3,
	BackoffStart: 3 * heartbeat, BackoffMax: 96 * heartbeat, DuplicateGrace: 4,
	StopYield: 18 * heartbeat, StartingTTL: 30 * heartbeat,
}

var key = app.Key{Droplet: app.MustGUID("droplet"), Version: app.MustGUID("v1")}

// parseInput reads the facts of a case.
func parseInput(text string) (*diff.Input, error) {
	in := &diff.Input{Key: key, GrewAt: t0.Add(-time.Hour), Read: diff.Reads{Began: t0.Add(-20 * time.Second)}}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := parseFact(in, words); err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
	}
	for i := range in.Instances {
		inst := &in.Instances[i]
		if inst.State == actual.Crashed && inst.Mark == actual.CrashNew && slices.ContainsFunc(in.Crashes, func(c actual.Crash) bool { return c.Instance == inst.GUID }) {
			inst.Mark = actual.CrashCounted
		}
	}
	slices.SortFunc(in.Instances, func(a, b actual.Located) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID))
	})
	return in, nil
}

func parseFact(in *diff.Input, words []string) error {
	switch words[0] {
	case "desired":
		return parseDesired(in, words[1:])
	case "grew":
		return parseAt(&in.GrewAt, words[1], "never")
	case "other":
		return parseAt(&in.OtherGrewAt, words[2], "")
	case "read":
		if words[1] == "failing" {
			in.Read.Failing = true
			return nil
		}
		if words[1] == "underway" {
			in.Read.UnderWay = true
			return nil
		}
		return parseAt(&in.Read.Began, words[1], "none")
	case "unplaced":
		var at app.Time
		err := parseAt(&at, words[1], "")
		in.Unplaced = append(in.Unplaced, at)
		return err
	case "foreign":
		in.Foreign = true
		return nil
	case "held":
		in.Held = append(in.Held, words[1:]...)
		return nil
	case "crash":
		return parseCrash(in, words[1:])
	case "start", "stop":
		return parseOutstanding(in, words)
	}
	index, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return fmt.Errorf("unknown fact %q", words[0])
	}
	return parseInstance(in, uint32(index), words[1:])
}

func parseAt(at *app.Time, s, zero string) error {
	if s == zero {
		*at = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	*at = t0.Add(d)
	return err
}

func parseDesired(in *diff.Input, words []string) error {
	switch words[0] {
	case "none":
		return nil
	case "elsewhere":
		in.DesiredVersion = app.MustGUID("v2")
		in.Elsewhere = diff.Served{Lacking: slices.Contains(words, "lacking"), Quiet: slices.Contains(words, "quiet")}
		return nil
	}
	n, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return err
	}
	in.Desired, in.DesiredVersion = &desired.App{Key: key, Instances: uint32(n), State: desired.Started}, key.Version
	if in.Desired.Package, err = desired.ParsePackageState(words[1]); err != nil {
		return err
	}
	if len(words) > 2 {
		in.Desired.State, err = desired.ParseRunState(words[2])
	}
	return err
}

func parseInstance(in *diff.Input, index uint32, words []string) error {
	state, err := parseState(words[0])
	inst := actual.Located{Instance: actual.Instance{App: key, Index: index, State: state, Since: int64(t0.Add(-time.Hour))}, DEA: "dea-1", Heard: t0.Add(-time.Minute)}
	if err == nil {
		inst.GUID, err = app.ParseGUID(words[1])
	}
	for _, w := range words[2:] {
		if err != nil {
			break
		}
		switch k, v, _ := strings.Cut(w, "="); k {
		case "heard":
			err = parseAt(&inst.Heard, v, "")
		case "since":
			var since app.Time
			err = parseAt(&since, v, "")
			inst.Since = int64(since)
		case "quiet":
			inst.Quiet = true
		case "counted":
			inst.Mark = actual.CrashCounted
		case "answered":
			inst.Mark = actual.CrashAnswered
		default:
			err = fmt.Errorf("unknown word %q", w)
		}
	}
	in.Instances = append(in.Instances, inst)
	return err
}

func parseState(word string) (actual.State, error) {
	for _, s := range []actual.State{actual.Unknown, actual.Stopping} {
		if s.String() == word {
			return s, nil
		}
	}
	return actual.ParseState(word)
}

func parseCrash(in *diff.Input, words []string) error {
	index, err := strconv.ParseUint(words[0], 10, 16)
	c := actual.Crash{Index: uint32(index)}
	for _, w := range words[1:] {
		if err != nil {
			break
		}
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "last":
			err = parseAt(&c.Last, v, "")
			c.First = c.Last
		case "of":
			c.Instance, err = app.ParseGUID(v)
		case "exited":
			c.Exited, err = app.ParseGUID(v)
			c.ExitedAt, c.ExitReason = t0, actual.ExitCrashed
		case "exitedat":
			err = parseAt(&c.ExitedAt, v, "")
		case "by":
			c.ExitReason = map[string]actual.ExitReason{"DEA_SHUTDOWN": actual.ExitShutdown, "DEA_EVACUATION": actual.ExitEvacuation}[v]
		case "answered":
			c.Answered = true
		case "tries":
			_, err = fmt.Sscanf(v, "%d", &c.Tries)
		case "tried":
			err = parseAt(&c.TriedAt, v, "")
		case "running":
			err = parseAt(&c.RunningSince, v, "")
		case "ran":
			c.Ran, err = time.ParseDuration(v)
		default:
			_, err = fmt.Sscanf(w, "x%d", &c.Count)
		}
	}
	in.Crashes = append(in.Crashes, c)
	return err
}

var reasons = map[string]commands.Reason{
	"MISSING": commands.ReasonMissing, "CRASHED": commands.ReasonCrashed, "EVACUATING": commands.ReasonEvacuating,
	"EXTRA": commands.ReasonExtra, "DUPLICATE": commands.ReasonDuplicate, "EVACUATION_COMPLETE": commands.ReasonEvacuationComplete,
}

func parseOutstanding(in *diff.Input, words []string) error {
	c := commands.Command{Action: commands.Start, App: key, State: commands.Pending, CreatedAt: t0.Add(-time.Minute)}
	var err error
	words = words[1:]
	if _, digits := strconv.Atoi(words[0]); digits != nil {
		c.Action = commands.Stop
		c.Instance, err = app.ParseGUID(words[0])
		words = words[1:]
	}
	index, bad := strconv.ParseUint(words[0], 10, 16)
	c.Index, c.Reason = uint32(index), reasons[words[1]]
	err = cmp.Or(err, bad)
	for _, w := range words[2:] {
		if err != nil {
			break
		}
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "due":
			err = parseAt(&c.DueAt, v, "")
		case "sent":
			c.State = commands.Sent
			err = parseAt(&c.ClaimedAt, v, "")
			c.DueAt, c.SentAt = c.ClaimedAt, c.ClaimedAt
		case "made":
			err = parseAt(&c.CreatedAt, v, "")
		case "tries":
			_, err = fmt.Sscanf(v, "%d", &c.Tries)
		case "of":
			c.Crashed, err = app.ParseGUID(v)
		default:
			err = fmt.Errorf("unknown word %q", w)
		}
	}
	if err == nil && c.Reason == 0 {
		err = fmt.Errorf("unknown reason %q", words[1])
	}
	c.ID = commands.NewID(c)
	in.Outstanding = append(in.Outstanding, c.Outstanding())
	return err
}

// target names the target of a command or finding: "start 1" or "stop c".
func target(a commands.Action, index uint32, instance app.GUID) string {
	if a == commands.Stop {
		return "stop " + instance.String()
	}
	return fmt.Sprintf("start %d", index)
}

func relative(at app.Time) string {
	if at == 0 {
		return "never"
	}
	d := at.Sub(t0)
	if d < 0 {
		return d.String()
	}
	return "+" + d.String()
}

// decide gives the findings and the plan of an input as text.
func decide(in *diff.Input) string {
	findings := diff.App(nil, in, t0, policy)
	return formatFindings(in, findings) + "\n" + formatPlan(in, diff.MakePlan(in, findings, t0, policy))
}

func formatFindings(in *diff.Input, findings []diff.Finding) string {
	var b strings.Builder
	for i := range findings {
		f := &findings[i]
		words := []string{fmt.Sprintf("%d/%s", f.Index, cmp.Or(f.Instance.String(), "-")), f.Bucket.String()}
		for _, w := range []string{f.Kind.String(), f.Rule} {
			words = append(words, cmp.Or(w, "-"))
		}
		if f.Action != commands.None {
			words = append(words, f.Action.String(), f.Reason.String(), "due="+relative(f.Due))
		}
		if f.Priority != 0 {
			words = append(words, fmt.Sprintf("prio=%.2f", f.Priority))
		}
		if f.CrashCount != 0 {
			words = append(words, fmt.Sprintf("crash=%d of=%s", f.CrashCount, cmp.Or(f.Crashed.String(), "-")))
		}
		if f.Tries != 0 {
			words = append(words, fmt.Sprintf("tries=%d", f.Tries))
		}
		if f.Action == commands.None && f.Due != 0 {
			words = append(words, "until="+relative(f.Due))
		}
		if !f.Command.IsZero() {
			words = append(words, "by:"+nameOf(in, f.Command))
		}
		if f.Expired {
			words = append(words, "expired")
		}
		if f.Why != diff.WhyNothing {
			words = append(words, "("+f.Why.String()+")")
		}
		b.WriteString(strings.Join(words, " ") + "\n")
	}
	return cmp.Or(b.String(), "nothing\n")
}

func nameOf(in *diff.Input, id commands.ID) string {
	for _, o := range in.Outstanding {
		if o.ID == id {
			return strings.ReplaceAll(target(o.Action, o.Index, o.Instance), " ", "-")
		}
	}
	return "UNKNOWN"
}

func formatPlan(in *diff.Input, plan diff.Plan) string {
	var b strings.Builder
	for _, op := range plan.Ops {
		c := op.Schedule
		if c.ID.IsZero() {
			fmt.Fprintf(&b, "end %s %s (%s)\n", nameOf(in, op.End), op.Outcome, op.Detail)
			continue
		}
		fmt.Fprintf(&b, "schedule %s %s due=%s", target(c.Action, c.Index, c.Instance), c.Reason, relative(c.DueAt))
		if c.CrashCount != 0 {
			fmt.Fprintf(&b, " crash=%d of=%s", c.CrashCount, cmp.Or(c.Crashed.String(), "-"))
		}
		if c.IsDuplicate() {
			b.WriteString(" is_duplicate")
		}
		b.WriteByte('\n')
	}
	for _, id := range plan.Ready {
		fmt.Fprintf(&b, "claim %s\n", nameOf(in, id))
	}
	if plan.Next != 0 {
		fmt.Fprintf(&b, "look again %s\n", relative(plan.Next))
	}
	if plan.WantsRead {
		b.WriteString("wants a newer read\n")
	}
	return cmp.Or(b.String(), "nothing to do\n")
}
