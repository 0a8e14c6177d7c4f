package reconcile

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/raftfsm"
)

// logLines gives the lines of a log, without their time and level, and empties it.
func logLines(log *bytes.Buffer) (lines []string) {
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=INFO ")
		lines = append(lines, strings.TrimSpace(line))
	}
	log.Reset()
	return lines
}

// loggedTo makes the leader write its commands to a log.
func (cf *simCF) loggedTo(log *bytes.Buffer) {
	cf.opts.OnCommand = newCommandLog(slog.New(slog.NewTextHandler(log, nil))).write
	cf.failover()
}

// wantLines requires that a log has one line for each of the texts, and that the line has the
// text's parts in order.
func wantLines(t *testing.T, what string, lines []string, want ...string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Fatalf("%s: the log has the lines\n%s\nwant %d", what, strings.Join(lines, "\n"), len(want))
	}
	for i, text := range want {
		rest := lines[i]
		for part := range strings.SplitSeq(text, " ... ") {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Errorf("%s: line %d is\n%s\nwant %s", what, i, lines[i], text)
				break
			}
			rest = after
		}
	}
}

// TestTheLogNamesEachCommand that the leader sends, and each that ends, with its outcome.
func TestTheLogNamesEachCommand(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	var log bytes.Buffer
	cf.loggedTo(&log)
	k := cf.apps[0].Key
	cf.lose(1)
	cf.run(8 * hb)
	name := fmt.Sprintf("action=start app=%s version=%s index=1 reason=MISSING rule=R01 due=20", k.Droplet, k.Version)
	wantLines(t, "an instance is lost", logLines(&log),
		`msg="command sent" command= ... `+name+" ... delay=",
		`msg="command ended" command= ... `+name+` ... delay= ... outcome=confirmed took= ... detail="an instance is live at the index"`)

	cf.nobodyObeys = true
	cf.lose(1)
	cf.run(9 * hb)
	lines := logLines(&log)
	wantLines(t, "the start has no effect", lines[:2], `msg="command sent"`, `msg="command ended" ... outcome=expired`)

	cf.nobodyObeys = false
	cf.run(20 * hb)
	log.Reset()
	cf.lose(1)
	cf.run(2 * hb)
	cf.copies(1)
	cf.run(2 * hb)
	lines = logLines(&log)
	wantLines(t, "the start is not needed any more", lines[:1], `msg="command ended" ... reason=MISSING due= ... outcome=dropped detail="an instance is live at the index"`)
	if strings.Contains(lines[0], "delay=") {
		t.Errorf("a command that was never sent has a delay: %s", lines[0])
	}
}

// TestTheLogNamesCommandsThatWereNotSent: the link is down at the last moment, or this is shadow
// mode.
func TestTheLogNamesCommandsThatWereNotSent(t *testing.T) {
	t.Run("abandoned", func(t *testing.T) {
		cf := steadyFleet(t, 4, 10, testOptions())
		var log bytes.Buffer
		cf.loggedTo(&log)
		cf.pubErr = fmt.Errorf("%w: the link is down", ErrNotSent)
		cf.lose(1)
		for log.Len() == 0 {
			cf.run(hb / 10)
		}
		wantLines(t, "the link is down", logLines(&log)[:1],
			`msg="command ended" ... rule=R01 ... outcome=abandoned ... detail="the command was not sent: the link is down"`)
	})
	t.Run("shadow", func(t *testing.T) {
		opts := testOptions()
		opts.Policy.Shadow = true
		cf := newSimCF(t, opts)
		cf.addDEAs(4)
		cf.desire(5, 4, true)
		cf.run(5 * hb)
		var log bytes.Buffer
		cf.loggedTo(&log)
		cf.lose(1)
		for log.Len() == 0 {
			cf.run(hb / 10)
		}
		wantLines(t, "shadow mode", logLines(&log), `msg="command decided, not sent in shadow mode" ... rule=R01`)
	})
}

// TestTheLogOfCommandsIsBounded: a storm writes so many lines of each kind, and how many it left
// out.
func TestTheLogOfCommandsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newCommandLog(slog.New(slog.NewTextHandler(&out, nil)))
		for range 3 * commandLogLines {
			log.write(CommandEvent{Command: commands.Command{State: commands.Sent}})
		}
		log.write(CommandEvent{Command: commands.Command{State: commands.Confirmed}})
		log.leftOut()
		if lines := logLines(&out); len(lines) != commandLogLines+1 {
			t.Errorf("%d lines in a storm, want %d", len(lines), commandLogLines+1)
		}
		time.Sleep(commandLogPeriod)
		log.leftOut()
		wantLines(t, "the storm is over", logLines(&out),
			fmt.Sprintf(`msg="there were more commands than the log has lines for" kind=sent suppressed=%d`, 2*commandLogLines))
	})
}

// TestTheLoopLogsCommands, unless its options say who is told of them.
func TestTheLoopLogsCommands(t *testing.T) {
	cf := newSimCF(t, testOptions())
	var log bytes.Buffer
	opts := LoopOptions{Options: cf.opts, Log: cf, Leader: leads{cf}, Publisher: cf, Intake: cf.intake}
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	NewLoop(opts, cf.endedCommands).core.opts.OnCommand(CommandEvent{Command: commands.Command{State: commands.Sent}})
	wantLines(t, "a loop", logLines(&log), `msg="command sent"`)
	loop := NewLoop(opts, cf.endedCommands)
	loop.LogEnded(raftfsm.EndedCommand{Command: commands.Command{State: commands.Dropped}, Detail: "cancelled"})
	wantLines(t, "a person cancels a command", logLines(&log), `msg="command ended" ... outcome=dropped detail=cancelled`)
	told := 0
	opts.OnCommand = func(CommandEvent) { told++ }
	NewLoop(opts, cf.endedCommands).core.opts.OnCommand(CommandEvent{})
	if lines := logLines(&log); told != 1 || len(lines) != 0 {
		t.Errorf("told %d times, want 1; the log has %q", told, lines)
	}
}

// TestClaimNotesAreBounded: those of commands that others ended are forgotten.
func TestClaimNotesAreBounded(t *testing.T) {
	cf := newSimCF(t, testOptions())
	id := func(i int) commands.ID { return commands.ID{byte(i), byte(i >> 8), byte(i >> 16), 1} }
	var notes claimNotes
	for i := range 3 * maxClaimNotes {
		notes.refused(id(i), ErrRefused, cf.View())
	}
	if len(notes) == 0 || len(notes) > maxClaimNotes {
		t.Errorf("%d commands are remembered, want at most %d", len(notes), maxClaimNotes)
	}
	notes = nil
	for i := range 3 * maxClaimNotes {
		notes.claimed(id(i), "R01")
	}
	if len(notes) != maxClaimNotes {
		t.Errorf("%d commands are remembered, want %d", len(notes), maxClaimNotes)
	}
	if rule, again := notes.ended(id(0)), notes.ended(id(0)); rule != "R01" || again != "" || len(notes) != maxClaimNotes-1 {
		t.Errorf("rule %q, then %q; %d commands are remembered", rule, again, len(notes))
	}
	var empty claimNotes
	if empty.ended(id(0)) != "" || empty.detail(diff.Op{Outcome: commands.Expired, Detail: "why"}) != "why" {
		t.Error("something is known of a command that nobody claimed")
	}
}
