package main

// The text of docs/migration.md, in the order of the document.

const migrationHead = `# Migration: from HM9000 or HealthManager 2.0 to hm, and back

This is the way from a health manager that commands to hm: prepare, let hm decide beside it without sending anything, compare, switch, watch,
and, if need be, go back. It is written for HM9000; [the last part](#from-healthmanager-20) says what differs with HealthManager 2.0.

Three rules hold all the way:

- **Two health managers that command at once start instances twice.** [What that does](#two-that-command-at-once) was measured. So the old one is
stopped before hm may send its first command, and the other way round on the way back.

- **None at all is harmless for minutes.** What runs goes on running, and users can still push, scale and delete. Only what crashes or is lost
meanwhile waits. So never hurry because nobody commands.

- **Wait three heartbeats (30 s) between the last command of HM9000 and the first of hm.** The Cloud Controller starts whatever it is asked to
start, and nobody hears of a new instance before the next heartbeat of its DEA. An hm that commands at once starts it again
(` + "`internal/server TestMigrationFromHM9000`" + ` fails without the wait).

The document is written by a program that makes all of this happen: ` + "`make migration`" + `. It starts a NATS server, a simulated Cloud
Foundry with 40 apps on 10 DEAs, a simulated HM9000 that commands, and three nodes of hm, each in a process of its own. What the commands print is here as
they printed it; long lists are cut. Heartbeats come every second instead of every ten: all times are a tenth of what they are with the
defaults.

## Before

Make hm's configuration from HM9000's, on a machine that has both:`

const migrationBefore = `The comment says what became of each of the old keys; read it once. Here the mode was added at the end: to begin with, ` + "`commands.mode: shadow`" + `. What
differs from machine to machine, the environment of each node has: ` + "`HM_NODE_ID`, `HM_NODE_DATA_DIR`, `HM_RAFT_LISTEN`, `HM_RAFT_PEERS`, `HM_API_LISTEN`" + `, and
` + "`HM_RAFT_TLS_*`" + ` ([certificates of the nodes](operations.md#certificates-of-the-nodes)).

Then go through this list:

| what | how |
|---|---|
| machines | three, each with a disk for ` + "`node.data_dir`" + ` that outlives the process. etcd and Consul are not needed |
| NATS | a user that may do what [operations.md](operations.md#what-nats-refuses) lists; in enforce mode that is more than in shadow mode. All servers in ` + "`nats.servers`" + ` |
| firewall | ` + "`raft.listen`" + ` between the nodes; ` + "`api.listen`" + ` from operators, Prometheus and the Cloud Controllers; from the nodes to NATS, to ` + "`desired.bulk.url`" + ` and, with the protocol ` + "`http`, to `commands.cc_url`" + ` |
| heartbeats | DEAs from before March 2016 send them over NATS. Later ones send them only over HTTPS, to one listener: see [late DEAs](#deas-that-send-heartbeats-over-https) |
| commands | Cloud Controllers take ` + "`hm9000.start`" + ` and ` + "`hm9000.stop`" + ` over NATS (` + "`commands.protocol: hm9000`" + `). For those of the Ruby time it is ` + "`health`" + `, and for those of June 2016 and later ` + "`http`" + `: [protocols.md](protocols.md), [compatibility.md](compatibility.md#to-the-cloud-controller) |
| collectors | ` + "`compat.component`, `compat.varz.*`" + ` if something still reads ` + "`/varz`" + `; otherwise Prometheus reads ` + "`/metrics`" + ` of each node: [metrics.md](metrics.md) has HM9000's names |
| alerts | load [contrib/prometheus/alerts.yml](../contrib/prometheus/alerts.yml) now: shadow mode closes the gate, which alone fires no alert |`

const migrationShadow = `## Beside HM9000

Start the three nodes. They hear what HM9000 hears, and decide, but send nothing and answer no question of the Cloud Controller:`

const migrationCompare = `*gate: closed: shadow* is what you want to see, with no other reason beside it; *hears* must be all DEAs on each node. Leave it so for a day or more that
has deploys and a rolling update of DEAs in it. Here the day is half a minute: an app crashes, one is scaled up, one is deleted, a
DEA dies, and one is evacuated. HM9000 corrects all of it. What hm would have done:`

const migrationVerdict = `The last line but one is the verdict. Switch when it names none "only by hm" and none "only by the other" that you cannot explain. These
differences are expected:

| what you see | why |
|---|---|
| hm is earlier, by 10 to 120 s with heartbeats every 10 s | HM9000 looks once in six heartbeats (W21). A start of what is missing takes it two looks |
| *the other first*, ` + "`dropped`" + ` or ` + "`hindsight`" + ` | HM9000's look came between the change and the end of hm's grace, or before hm's next read of the desired state |
| HM9000 first with stops of an old version | hm lets the new version run first, for up to ` + "`policy.stop_yield`" + `; HM9000 stops at once (R17) |
| only the other, *hm held* ` + "`hold:mass-loss`, `hold:desired-shrink`" + ` | HM9000 has no such guards (W03, W04). Look whether you would have wanted its commands |
| only the other: starts of everything on one DEA | the DEA was restarted (W10), or sent one heartbeat that HM9000 could not read (W14) |
| only the other: a second stop of a duplicate | HM9000 may stop both copies (W02), hm stops one |
| only the other: starts with EVACUATING that the Cloud Controller refuses | HM9000 answers an evacuation without looking at what is desired (W18), and repeats what it could not send (W17) |
| only the other: a crash restarted as MISSING | the DEA forgot the crash, and with it HM9000 its back-off (W19). hm's start is listed as due later |
| only hm: starts in a storm | HM9000 sends 60 starts in a look, hm ` + "`policy.start_limit`" + ` in a heartbeat |
| all are only by hm | an HM9000 of June 2016 or later sends over HTTP, which nobody else can hear: compare with the log of the Cloud Controller instead |

What is none of these deserves a look with ` + "`hm explain APP`" + ` before you go on. ` + "`--exit-code`" + ` makes it a check for scripts: 0 agreement,
2 a difference, 3 something was missed.

## The switch

Compare once more, since in enforce mode the nodes do not listen to HM9000. There is no reload: a node reads ` + "`commands.mode`" + ` when it starts. Pause hm first. The pause is recorded in the cluster, so it holds across the restarts, whichever node leads. Give it no end:
it must last until you resume.`

const migrationRestart = `Now write ` + "`mode: enforce`" + ` into the configuration of every node, and restart the nodes one at a time, the next one when ` + "`hm status`" + ` shows all members as
healthy. HM9000 still commands, and hm is ready in every other respect:`

const migrationStop = `Only ` + "`paused`" + ` may stand there on the leader. Another reason now is one that you would meet after the switch. From now on the nodes answer ` + "`app.state`" + ` in one queue group
with HM9000's API server, and both answers are right. A Cloud Controller that asks over HTTP (` + "`POST /bulk_app_state`" + `) gets hm's address now:
hm serves the same path on HM9000's port with the same credentials, which the import carried over.

Stop HM9000: all its processes on all its machines (` + "`analyze`, `listen`, `evacuator`, `serve_api`, `shred`" + `; with monit ` + "`monit stop all`" + ` on its VMs), so that nothing
brings them back. The listener and the evacuator send starts, too, so it is not enough to stop the analyzer; and an API server without a listener answers ` + "`{}`" + `.
HM9000 keeps in etcd what it was about to send. Nobody else reads that: it ends here, and hm finds the same drift by itself. hm took nothing
over from etcd, so there is nothing to convert and nothing to wait for but the heartbeats.

Here some things break just before HM9000 is stopped, at the worst moment: it has just sent starts of which nobody has heard yet.`

const migrationWait = `Wait three heartbeats: 30 s with the defaults. Meanwhile look at what hm is about to do:`

const migrationResumed = `In this run %.1f s passed from the end of HM9000 to hm's open gate, with heartbeats every second; the three heartbeats of waiting are most of it.
That is how long nobody commanded. What was due goes out at once, the rest after its grace:`

const migrationWatch = `## The first ten minutes

Keep ` + "`hm status`" + ` or ` + "`hm top`" + ` open, and look at these:

| look at | good | if not |
|---|---|---|
| *gate* of the leader | open, and stays open | the reason says what to do: [operations.md](operations.md#where-to-look-first). ` + "`shadow`" + `: this node was forgotten |
| *drift*, *queue* | fall to what they were before | ` + "`hm drift`" + ` says what each item waits for |
| ` + "`hm commands history`" + ` | ` + "`confirmed`" + ` | ` + "`expired`" + `: the Cloud Controller does not carry out what hm sends: [commands without effect](operations.md#commands-without-effect) |
| ` + "`hm events --kind gate --kind hold --kind leader -f`" + ` | quiet | a hold waits for you: read its reason before you release it |
| ` + "`hm_commands_sent_total`" + ` by reason | like HM9000's counters of the days before | DUPLICATE that grows: something else starts instances. Is HM9000 stopped everywhere? |
| ` + "`hm_app_state_not_fresh_total`" + ` | does not grow | users see 0 running instances: [queries](operations.md#queries-of-the-cloud-controller) |

All that broke around the switch has been corrected, once. What has no time under *sent* hm decided in shadow mode, and HM9000 did it:`

const migrationAfter = `Exit code 0: no drift. That is the all-clear.

## The way back

Until etcd is gone you can go back at any time. It is the same way: hm is paused, then the other one is started. Here things break again just before.`

const migrationBack = `Start HM9000's processes now; do not wait. HM9000 acts only when it has heard the DEAs for three heartbeats, so it hears what hm started last before it does anything. (If it was stopped for less than that, wait: its store still counts as fresh.) Its first
look at everything came %.1f s after the pause in this run. With heartbeats every 10 s count on half a minute until it answers evacuations, a minute until its first look, and a
minute more until it starts what is missing.

If HM9000 was stopped for more than a few minutes, empty its tree in etcd first (` + "`/hm`" + `; below): what it kept is out of date. It verifies most of that before it sends it, but not the
start of an evacuation that it could not send (W17; ` + "`internal/sim/hm9000 TestTheStoreOutlivesIt`" + `). It needs nothing of it: it would
wait three heartbeats in any case.

Then write ` + "`mode: shadow`" + `, restart the nodes one at a time, and resume: in shadow mode hm sends nothing, and compares again. A node that is in
shadow mode answers ` + "`app.state`" + ` no more. Give a Cloud Controller that asks over HTTP HM9000's address again.`

const migrationEnd = `How long nobody commands, in heartbeats, with the times of [operations.md](operations.md#beside-another-health-manager) and
HM9000's own (C03, C04, C08):

| step | nobody commands for | why |
|---|---|---|
| to hm, as above | 3, and your two commands | the wait |
| to hm without the pause: HM9000 stopped, then the nodes restarted | 3 after the restart of the node that leads at the end, and the restarts | a restarted node needs a freshness window; a leader that is still in shadow mode sends nothing |
| back to HM9000 | 3 to 4 for evacuations, 6 for stops and crashes, 12 for what is missing | its freshness, its second look, and the third |

## Two that command at once

If HM9000 is not stopped when hm commands, each corrects what the other is just correcting. ` + "`go test -v -run TestTwoThatCommand ./internal/server`" + ` measures it with a simulated HM9000
and prints the figures. In three runs:

| drift | started | of these twice |
|---|---|---|
| 12 apps scaled up | 12 | 0 |
| 12 crashes, spread over a look of HM9000 | 12 | 0, 1, 0 |
| a DEA lost with 11 instances | 11 | 0 |
| a DEA evacuated with 12 instances | 12 | 11, 11, 12 |

On a machine that was so busy that heartbeats came late, up to 5 of 12 crashes and 5 of 17 indices of the apps scaled up were started twice, and stops of HM9000 took the only instance of an index up to four times.

hm is mostly so much earlier that HM9000 hears the instance before it looks. But both answer an evacuation in the same second, and the Cloud Controller starts what either asks for. So a rolling update of the DEAs doubles nearly everything that it
moves. The copies are stopped again after twelve heartbeats and more. hm stops one copy and keeps one; HM9000 decides by itself,
and may take the other (W02): then users lose the instance that was right. Therefore: never both.

## What is left of HM9000

When hm has commanded for as long as you want to be able to go back:

- Remove the jobs of HM9000 from the deployment.

- etcd (its own command, which this document's program does not run): ` + "`etcdctl rm --recursive /hm`" + ` removes HM9000's tree (` + "`/hm/v4`" + ` with the schema of 2016). Remove etcd itself only if nothing else uses it: the routing API and the loggregator of that
time may.

- Consul: the locks ` + "`hm9000.listener`, `hm9000.analyzer`, `hm9000.evacuator`, `hm9000.shredder`" + ` and the service ` + "`listener-hm9000`" + ` end with their processes, and hm uses none of
them. Remove their keys and service definitions, if there are any. hm elects its leader itself.

- NATS: take the permissions of HM9000's user away, and keep hm's.

## DEAs that send heartbeats over HTTPS

DEAs from March 2016 on send no heartbeat over NATS, but ` + "`POST /dea/heartbeat`" + ` to one address: ` + "`https://listener-hm9000.service.cf.internal:5335`" + `, which
Consul points to the listener that has the lock. hm takes them with ` + "`heartbeats.listen`" + ` and mutual TLS, on every node ([configuration.md](configuration.md)); if your version of hm says that the key is not
supported yet, such DEAs cannot be moved.

A DEA has one address to post to, so only one health manager hears it: shadow mode cannot run beside HM9000 here. The pause takes its place:

1. Give each node a certificate for ` + "`listener-hm9000.service.cf.internal`" + ` from the CA that the DEAs trust (` + "`hm9000.ca_file`" + ` of the DEA), and that CA as ` + "`heartbeats.tls.client_ca`" + `. The keys of
HM9000's own listener fit: ` + "`hm config import-hm9000`" + ` carries them over.

2. Start hm in enforce mode, and pause it. Until it hears DEAs its gate is closed in any case (` + "`actual-stale`" + `).

3. Stop HM9000. Point the name to the nodes of hm, all of them: in DNS, or as a service in Consul with a health check. DEAs connect again at their next heartbeat, and any node may
answer any DEA.

4. Wait until ` + "`hm status`" + ` shows all DEAs and only the reason ` + "`paused`" + `: one freshness window at least. Now ` + "`hm drift`" + ` lists all that hm would do. It must be what you expect;
a long list means that heartbeats are missing.

5. ` + "`hm resume`" + `. The way back is the same, the other way round.

## From HealthManager 2.0

It is the same way with these differences:

- ` + "`hm config import-ruby health_manager.yml -o hm.yml`" + ` makes the configuration. Where the old one has no credentials of the bulk API, hm asks for them over NATS as it did.

- ` + "`commands.protocol: health`" + `, in shadow mode as well: the nodes then listen to ` + "`health.start`" + ` and ` + "`health.stop`" + `. Such a Cloud Controller does not know ` + "`hm9000.*`" + `, and
checks commands by counts: [protocols.md](protocols.md) says which it refuses.

- Other differences are expected in the comparison. HealthManager 2.0 gives an index up after five quick crashes (W43): hm starts it again with longer and longer pauses, so these are only by hm.
It acts on exits without looking at what is desired (W42), and counts old exits of a restarted DEA again (W44): these are only by the other. It looks at 200 apps every 20 s
(W51), so with many apps it is minutes later.

- While hm is paused in enforce mode and HealthManager 2.0 still runs, both answer ` + "`healthmanager.status`, `.health` and `.droplet`" + `. A Cloud Controller takes as many answers to
` + "`.health`" + ` as it asked for apps, so it may miss some (N36): keep that time short.

- It keeps everything in memory. When it is stopped, its queue and its delayed restarts are gone, and nothing is left behind that could be sent later. Stop every instance of it: it has no
lock, and two of them command at once already.

- After the way back it knows nothing: it reads all apps at once, waits 30 s before it believes that an instance is missing, then looks at 200 apps every 20 s. What it had given up, it tries again. Collectors read
` + "`/varz`" + ` of hm if ` + "`compat.component: HealthManager`" + ` is set; have them read only one of the two.

- Two that command at once should be worse here, though it was not measured: HealthManager 2.0 answers a crash when it hears of the exit, as hm does, and so both start the index.`
