package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

func newEventsCommand(c *cli) *cobra.Command {
	var q api.EventQuery
	var follow, wide bool
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened and why, and follow it",
		Long: `Show what happened and why: who led, which commands were scheduled, sent and confirmed, which DEAs were
lost and came back, what was held and by whom, when the picture was fresh after an outage and the queue
drained. Each node keeps the history of the cluster, and its own of its NATS link and its gate.

--kind selects a kind like command.sent, or all kinds of a subject like command. It may be given several
times. -f goes on with what happens from now on, and connects again if the node goes away; --watch is
the same.`,
		Example: "  hm events --since 10h --kind leader --kind gate --kind picture --kind queue\n  hm events -f --app APP",
		Args:    cobra.NoArgs,
	}
	hasFormats(cmd, allFormats...)
	r := c.remote(cmd)
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	f.BoolVarP(&follow, "watch", "w", false, "the same as --follow")
	c.noHeadersFlag(cmd)
	f.StringVar(&q.Since, "since", "", "only from this time on: RFC 3339, or a duration before now like 1h30m")
	f.StringVar(&q.App, "app", "", "only this app: a guid, or the beginning of one")
	f.StringVar(&q.DEA, "dea", "", "only this DEA: an id, or the beginning of one")
	f.StringArrayVar(&q.Kinds, "kind", nil, "only this kind, or this subject of kinds")
	f.IntVar(&limit, "limit", tableLimit, "show at most this many of what has happened, the newest, from 1 to 10000")
	f.BoolVar(&wide, "wide", false, "show every id in full, as -o wide does")
	kinds := journal.Subjects()
	for _, k := range journal.Kinds() {
		kinds = append(kinds, string(k))
	}
	completeFlag(cmd, "kind", only(kinds...))
	completeFlag(cmd, "app", r.completeApps)
	completeFlag(cmd, "dea", r.completeDEAs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkNewest(limit); err != nil {
			return err
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.Events(cmd.Context(), q, limit)
			if err != nil {
				return err
			}
			p := &eventPrinter{c: c, id: words.IDs(c.wide(wide))}
			if !follow {
				return p.list(l)
			}
			if err := p.print(l.Items...); err != nil {
				return err
			}
			return p.follow(cmd.Context(), client, q, l.LastID)
		})
	}
	return cmd
}

// eventPrinter prints events, one a line.
type eventPrinter struct {
	c   *cli
	id  func(string) string
	day string // of the last one
}

// list prints a list and what it leaves out.
func (p *eventPrinter) list(l api.EventList) error {
	if p.c.forPrograms() {
		return printItems(p.c, l.Items, eventID)
	}
	if l.More && !p.c.noHeaders {
		if _, err := fmt.Fprintf(p.c.out, "the newest %d; --limit shows more\n", len(l.Items)); err != nil {
			return err
		}
	}
	if len(l.Items) == 0 && !p.c.noHeaders {
		if _, err := fmt.Fprintln(p.c.out, "nothing of this has happened"); err != nil {
			return err
		}
	}
	if err := p.print(l.Items...); err != nil {
		return err
	}
	return p.c.printBasis(l.Basis)
}

func eventID(e api.Event) string { return e.ID }

// print prints events with their time of the day, in UTC, and each day before its first one.
func (p *eventPrinter) print(events ...api.Event) error {
	for _, e := range events {
		if p.c.forPrograms() {
			if err := p.printData(e); err != nil {
				return err
			}
			continue
		}
		at := e.At.UTC()
		if day := at.Format(time.DateOnly); day != p.day && !p.c.noHeaders {
			p.day = day
			if _, err := fmt.Fprintf(p.c.out, "%s UTC\n", day); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(p.c.out, "%s  %s  %s\n", at.Format(time.TimeOnly),
			p.c.paint(words.EventTone(e.Kind), fmt.Sprintf("%-17s", strings.ReplaceAll(e.Kind, ".", " "))), words.OneLine(words.Event(e, p.id)))
		if err != nil {
			return err
		}
	}
	return nil
}

// printData prints an event for programs: a line of JSON, a document of YAML, or its id.
func (p *eventPrinter) printData(e api.Event) error {
	if p.c.output == formatName {
		return p.c.printNames([]string{e.ID})
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	if p.c.json() {
		return p.c.printRaw(raw)
	}
	if _, err := io.WriteString(p.c.out, "---\n"); err != nil {
		return err
	}
	return writeYAML(p.c.out, raw)
}

// Pauses before hm events -f connects again: they double from the first to the last.
const (
	firstReconnect = 250 * time.Millisecond
	lastReconnect  = 5 * time.Second
)

// follow prints what happens after an id until ctx ends. It connects again when the connection ends or the node cannot
// give its history for a while.
func (p *eventPrinter) follow(ctx context.Context, client *api.Client, q api.EventQuery, after string) error {
	pause := firstReconnect
	var told string
	for {
		next, err := client.FollowEvents(ctx, q, after, func(e api.Event) error { return p.print(e) })
		if ctx.Err() != nil {
			return nil // interrupted: that is how it ends
		}
		if next != after {
			after, pause, told = next, firstReconnect, ""
		}
		if !passes(err) {
			return err
		}
		if text := err.Error(); text != told && !errors.Is(err, io.ErrUnexpectedEOF) {
			told = text
			if _, err := fmt.Fprintf(p.c.err, "hm: %s; connecting again\n", text); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastReconnect)
	}
}
