package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
)

// TestE2EHistorySurvivesRestarts: `hm events` and `hm commands history` of a node give the same after the node was killed
// or ended and started again, and the same on every node, as far as they are of the cluster.
func TestE2EHistorySurvivesRestarts(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	// With a snapshot after each entry, a restarted node has the history from its journal, and not from the log.
	f := newFoundry(t, e2ePeriod, []string{"--apps", "20", "--deas", "6"}, "raft.snapshot_interval=50ms", "raft.snapshot_threshold=1")
	f.awaitOpen("first")
	f.act("POST", "deas/random/kill", "")
	var events []api.Event
	var ended []api.Command
	f.await("every command has ended, and nothing more happens", 60*time.Second, func() bool {
		outstanding := list[api.Command](f, 0, "commands", "list")
		pass(4)
		before := len(events)
		events, ended = f.events(0), f.ended(0)
		return outstanding != nil && len(outstanding) == 0 && len(ended) >= 2 && len(events) == before
	})
	want := func(what string, node int) {
		t.Helper()
		gave := "" // of the last attempt, what is not as before
		until := time.Now().Add(time.Minute)
		for ; ; time.Sleep(50 * time.Millisecond) {
			now := f.events(node)
			gave = difference(events, now[:min(len(now), len(events))]) + difference(ended, f.ended(node))
			if gave == "" {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%s: hm-%d: %s", what, node, gave)
			}
		}
	}
	for node := range f.nodes {
		want("before a restart", node)
	}
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		f.nodes[0].signal(s)
		f.nodes[0].start()
		want("after a restart of one node by "+s.String(), 0)
	}
	for _, n := range f.nodes {
		n.signal(syscall.SIGKILL)
	}
	for _, n := range f.nodes {
		n.start()
	}
	f.awaitOpen("after a restart of all")
	for node := range f.nodes {
		want("after a restart of all", node)
	}
}

// difference says where two lists begin to differ; empty if they do not.
func difference[T any](want, got []T) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d items instead of %d; the next would be %+v. ", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Sprintf("%d items instead of %d; the next is %+v. ", len(got), len(want), got[i])
		case !reflect.DeepEqual(want[i], got[i]):
			return fmt.Sprintf("item %d is %+v, want %+v. ", i, got[i], want[i])
		}
	}
	return ""
}

// list gives what a command of hm that lists something prints for a node, nil if the node cannot be asked now.
func list[T any](f *foundry, node int, args ...string) (items []T) {
	f.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--addr", f.apis[node], "--limit", "10000", "-o", "json")
	if newCLI(nil, &out, &errs).run(f.t.Context(), args) != 0 {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), &items); err != nil {
		f.t.Fatalf("hm %v: %v: %s", args, err, &out)
	}
	return items
}

// events gives the events of the cluster that a node has, oldest first. They have no times: these are by the node's wall
// clock, which the nodes do not share, and neither do two processes to the millisecond.
func (f *foundry) events(node int) []api.Event {
	f.t.Helper()
	events := slices.DeleteFunc(list[api.Event](f, node, "events"), func(e api.Event) bool { return e.Node != "" })
	for i := range events {
		events[i].At, events[i].Due = api.Timestamp{}, api.Timestamp{}
	}
	return events
}

// ended gives the ended commands that a node has, newest first, without times.
func (f *foundry) ended(node int) []api.Command {
	f.t.Helper()
	ended := list[api.Command](f, node, "commands", "history")
	for i := range ended {
		c := &ended[i]
		c.CreatedAt, c.DueAt, c.SentAt, c.EndedAt = api.Timestamp{}, api.Timestamp{}, api.Timestamp{}, api.Timestamp{}
	}
	return ended
}
