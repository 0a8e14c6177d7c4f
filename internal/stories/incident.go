package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"hm/internal/api"
	"hm/internal/sim"
)

// The installation of the incident.
const (
	deas = 12
	zone = 4 // DEAs in each of three zones
)

// setIncident starts three nodes on an installation with 40 apps.
func setIncident(ctx context.Context, s *scene) error {
	if err := s.simulation(ctx, "--apps", "40", "--deas", fmt.Sprint(deas), "--connection-per-dea"); err != nil {
		return err
	}
	for i := range nodes {
		var args []string
		for _, k := range []string{
			"nats.servers=" + s.nats.URL(), "desired.bulk.url=http://" + s.cc,
			"policy.heartbeat_period=1s", "policy.start_limit=10", "guard.mass_loss=0.25",
		} {
			args = append(args, "--set", k)
		}
		if err := s.startNode(ctx, i, args...); err != nil {
			return err
		}
	}
	return nil
}

// tellIncident makes the incident happen and writes what an operator sees of it.
func tellIncident(ctx context.Context, p *page) {
	p.say(`# An incident, from the first look to the all-clear

An operator restages some apps. While hm brings up the new versions, NATS goes away; and while NATS is away, the machines of one of three
zones are lost. This document shows what hm says at each moment, what each line means, and why hm acts or does not.

It is written by a program that makes all of this happen: ` + "`make incident`" + `. It starts a NATS server, a simulated Cloud Foundry with
40 apps on 12 DEAs, and three hm nodes, each in a process of its own, breaks things, and runs the commands. What they print is here as they
printed it; only long lists are cut, and the paths of the temporary directory are shortened. Heartbeats come every second instead
of every ten, so all times are a tenth of what they would be with the defaults. Two keys differ from the defaults:
` + "`policy.start_limit: 10`, so that one sees the queue drain, and `guard.mass_loss: 0.25`, as [operations.md](operations.md#nats-in-every-shape)" + `
advises for three zones.

## Before`)
	p.until(ctx, "the cluster is calm", func(s api.Status) bool {
		if s.Cluster.Leader != "" { // any node answers; the leader's gate line has only one reason in it
			i := slices.IndexFunc(s.Cluster.Nodes, func(n api.ClusterNode) bool { return n.ID == s.Cluster.Leader })
			p.scene.asked = p.scene.apis[i]
		}
		return s.Gate.Open && s.Drift.Total() == 0 && s.Actual.DEAs == deas
	})
	var recorder *process
	if p.err == nil {
		recorder, p.err = p.scene.process(ctx, "record", nil, "record", "--from-api", "http://"+p.scene.asked, "-o", "incident.jsonl.zst", "--note", "NATS away, a zone lost")
	}
	p.let(ctx, 5*time.Second)
	p.say(`A recorder runs on every installation that wants to know afterwards what happened (` + "`hm record --from-api http://... -o incident.jsonl.zst`" + `; see
[a flight recorder](replay.md#a-flight-recorder)). All is well:`)
	p.show(ctx, 60, "status")

	var all []sim.AppView
	p.do(ctx, http.MethodGet, "/apps?limit=40", "", &all)
	if p.err != nil {
		return
	}
	var deployed []sim.AppView
	for _, a := range all {
		if a.State == "STARTED" && a.Instances >= 2 && len(deployed) < 3 {
			deployed = append(deployed, a)
		}
	}
	p.say(`## A deploy begins, and NATS goes away

Three apps are restaged. Each gets a new version, and the Cloud Controller wants that one from now on: the instances of the old version are
not desired any more, and those of the new one are missing. hm waits one grace, 3 heartbeats, before it starts what is missing, because the
Cloud Controller usually starts it itself. Here NATS goes away within the grace.`)
	began := time.Now()
	for _, a := range deployed {
		p.do(ctx, http.MethodPost, "/apps/"+a.GUID.String()+"/restage", "{}", nil)
	}
	p.until(ctx, "the starts of the new versions are scheduled", func(s api.Status) bool { return s.Commands.PendingStarts >= 4 })
	p.scene.nats.Stop()
	p.until(ctx, "the gate is closed", func(s api.Status) bool { return slices.Contains(s.Gate.Reasons, "nats-down") })
	p.let(ctx, 4*time.Second)
	p.say(`The pager says *hm sends no commands: nats-down* (the alert ` + "`HMGateClosed`" + `). The first look is always the same command. Any node
answers it; here it is the leader:`)
	p.show(ctx, 60, "status")
	p.say(`Read it from the top. *gate: closed* is the answer to the first question: hm sends nothing, and the line says why and since when. The
members are all healthy: the cluster itself works, and only NATS is missing, on every node. *actual* is stale, because nobody hears
the DEAs. *desired* is still fresh: reads of the Cloud Controller go over HTTP. *drift* and *queue* say that work waits, and that it waits for
the gate.

Is that dangerous? No. Without NATS nobody hears heartbeats, so silence means nothing, and hm expires nothing. The apps go on running on the
DEAs. hm's times to live stand still until the link returns, and then begin anew. Nobody has to pause hm, and nobody has to restart it. What is in
it now?`)
	p.show(ctx, 22, "drift")
	guid := ""
	if len(deployed) > 0 {
		guid = deployed[0].GUID.String()
	}
	p.say(`This is the deploy: the instances of the new versions are missing, and the old ones are not desired. Nothing else differs. What about one of
these apps?`)
	p.show(ctx, 60, "explain", guid)
	p.say(`The last lines matter most: for each index one plain sentence. The start of the new version waits for the gate; the stop of the old
instances waits for the new ones, because hm never stops the last running instance of an app before another one runs. Whoever
restaged sees an app that still serves its old version. That is the best that can be had without NATS.`)

	p.say(`## A zone is lost, and nobody can know it

While NATS is away, the machines of one zone lose power: four of the twelve DEAs.`)
	var fleet []struct {
		ID string `json:"id"`
	}
	p.do(ctx, http.MethodGet, "/deas?limit=12", "", &fleet)
	if p.err != nil {
		return
	}
	for _, d := range fleet[:min(zone, len(fleet))] {
		p.do(ctx, http.MethodPost, "/deas/"+d.ID+"/kill", "{}", nil)
	}
	p.let(ctx, 6*time.Second)
	p.show(ctx, 60, "top", "--once")
	p.say("`hm top`" + ` shows the same cluster live; ` + "`--once`" + ` prints one frame of it. hm cannot know of the loss: it has not heard any of the twelve DEAs
since NATS went away, and all twelve are listed as silent, the dead ones and the living. So it counts none of them as lost: the line *actual* still
has 12 DEAs and 80 instances. A health manager that believed its clock here would declare the whole fleet dead.`)

	p.say(`## NATS is back

The link comes back by itself; nobody restarts hm. The gate stays closed for one freshness window, 3 heartbeats, so that every DEA that is alive
can speak first.`)
	if p.err == nil {
		p.err = p.scene.nats.Start()
	}
	p.until(ctx, "the link is back", func(s api.Status) bool { return s.NATS.Connected && !s.Gate.Open })
	p.show(ctx, 16, "status")
	p.until(ctx, "the loss is noticed", func(s api.Status) bool {
		return slices.ContainsFunc(s.Holds, func(h api.Hold) bool { return h.Name == "mass-loss" })
	})
	p.say(`When the window is over, the gate opens, and what the deploy still needs is sent. In the same second eight DEAs have sent heartbeats and four have not, for a whole time to live in which they could have been heard. Now
silence means something. But a third of all instances at once is more than ` + "`guard.mass_loss`" + ` allows hm to believe alone:`)
	p.show(ctx, 60, "status")
	p.say(`The hold *mass-loss* closes the gate and waits for a person (alert ` + "`HMHoldWaitsForAPerson`" + `). hm asks one question that it cannot answer itself: are the
machines gone, or only the way to them? If only the network were broken, the apps would still run and serve users, and starting all of
them again would double the load on what is left. The list of DEAs says which machines to ask about:`)
	p.show(ctx, 30, "deas")
	p.say(`The four are one zone. An app that ran there:`)
	lost := ""
	p.wait(ctx, "an app lacks an instance because of the zone", func() bool {
		output, _, err := p.scene.ask(ctx, "drift", "--kind", "missing", "-o", "json", "--limit", "0")
		var items []api.DriftItem
		if err != nil || json.Unmarshal([]byte(output), &items) != nil {
			return false
		}
		for _, item := range items {
			if !slices.ContainsFunc(deployed, func(a sim.AppView) bool { return a.GUID.String() == item.App }) {
				lost = item.App
				return true
			}
		}
		return false
	})
	p.show(ctx, 50, "explain", lost)

	p.let(ctx, 5*time.Second)
	var sent uint64
	p.until(ctx, "the commands of the deploy are sent", func(s api.Status) bool { sent = s.Commands.SentStarts; return true })
	p.say(`## A person decides

The console of the IaaS says that the machines of the zone are off. The instances are really gone, and the other eight DEAs have room. So the hold
may go:`)
	p.show(ctx, 10, "release", "mass-loss")
	p.until(ctx, "hm acts", func(s api.Status) bool { return s.Commands.SentStarts > sent })
	p.show(ctx, 30, "status")
	p.say(`The gate is open again. hm has waited one more grace, in which an instance that only moved would have been heard, and now the queue
drains: at most 10 starts a heartbeat (` + "`policy.start_limit`" + `), those apps first that have the smallest share of their instances. The line *queue* says
how many are left. What has been sent, and what still waits:`)
	p.show(ctx, 14, "commands")
	p.until(ctx, "everything runs", func(s api.Status) bool {
		return s.Drift.Total() == 0 && s.Queue.Apps == 0 && s.Commands.PendingStops == 0
	})
	p.say(`## The all-clear

No drift, an open gate, no hold. In scripts, the exit code says it: 0.`)
	p.show(ctx, 60, "status")
	p.show(ctx, 10, "drift", "--exit-code")
	p.say(`And the restaged app runs its new version; the old instances were stopped once the new ones ran:`)
	p.show(ctx, 40, "explain", guid)

	p.say(`## The story afterwards

Every node keeps what happened and why. These events are the outage, without the commands:`)
	p.show(ctx, 60, "events", "--since", time.Since(began).Round(time.Second).String(), "--kind", "link", "--kind", "gate", "--kind", "hold", "--kind", "picture", "--kind", "queue", "--kind", "dea")
	p.say(`*picture.fresh* is what the leader found when its gate opened, and *queue.drained* what became of it. And what hm sent:`)
	p.show(ctx, 15, "commands", "history")
	p.say(`Each start has its reason, and each ended with its effect: *confirmed*. The recording ends with the incident. It can be replayed on any machine, without NATS and without the cluster, with the code of the daemon:`)
	if p.err == nil {
		p.err = recorder.end(os.Interrupt) // as its user would with Ctrl-C
	}
	p.show(ctx, 30, "replay", "incident.jsonl.zst")
	p.say(`What would have happened with the default guard of 0.5? A third of the instances is less than that: hm would have started them without
asking. In this replay simulated DEAs answer the commands (` + "`--react`" + `), because the recorded ones know nothing of commands that were not sent:`)
	p.show(ctx, 20, "replay", "incident.jsonl.zst", "--set", "guard.mass_loss=0.5", "--compare", "--react")
	p.say(`So the price of the stricter guard was the time in which a person decided: all starts come that much earlier without it. (*MISSING* adds up, over all
instances, for how long they were missing.) Its worth is what it saves when the zone is alive and only its network is gone. That is a decision for
the operator, and the recording lets one look at both.`)
}
