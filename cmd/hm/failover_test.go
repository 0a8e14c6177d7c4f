package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/tcpproxy"
)

// The failover trials measure how long the cluster is without an open gate: `make failover N=20`. They run real
// processes with the default times of the policy and of raft, so they take minutes, and run only on demand.

const trialsVariable, trialPeriodVariable = "HM_TEST_FAILOVER", "HM_TEST_FAILOVER_PERIOD"

// trialFoundry has one proxy between each node and NATS.
type trialFoundry struct {
	*foundry
	period  time.Duration
	proxies []*tcpproxy.Proxy
}

func newTrials(t *testing.T) (f trialFoundry, trials int) {
	t.Helper()
	trials, _ = strconv.Atoi(os.Getenv(trialsVariable))
	if trials <= 0 {
		t.Skipf("measures failovers for minutes; `make failover N=20` runs it (%s=20)", trialsVariable)
	}
	f.period = 10 * time.Second
	if text := os.Getenv(trialPeriodVariable); text != "" {
		var err error
		if f.period, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", trialPeriodVariable, err)
		}
	}
	f.foundry = newFoundry(t, f.period, []string{"--apps", "200", "--deas", "40"})
	for _, n := range f.nodes {
		p, err := tcpproxy.Start(tcpproxy.Options{Target: strings.TrimPrefix(f.natsURL, "nats://")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		f.proxies = append(f.proxies, p)
		n.signal(syscall.SIGKILL)
		n.args = append(n.args, "--set", "nats.servers=nats://"+p.Addr())
		n.start()
	}
	return f, trials
}

// awaitReady waits until a gate is open and each node could command if it led. It gives the leader.
func (f trialFoundry) awaitReady() (leader int) {
	f.t.Helper()
	f.await("every node hears everything", 12*f.period+30*time.Second, func() bool {
		leader = -1
		for i := range f.apis {
			s, err := f.status(i)
			if err != nil || !s.Gate.Open && !slices.Equal(s.Gate.Reasons, []string{"not-leader"}) {
				return false
			}
			if s.Gate.Open {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

// trial disturbs the leader and measures how long it takes until the gate of another node is open.
func (f trialFoundry) trial(disturb func(leader int)) (leader int, took time.Duration) {
	f.t.Helper()
	leader = f.awaitReady()
	time.Sleep(time.Duration(time.Now().UnixNano()) % (500 * time.Millisecond)) // at any moment between two messages
	began := time.Now()
	disturb(leader)
	f.await("the gate of another node opens", 12*f.period, func() bool {
		for i := range f.apis {
			if i == leader {
				continue
			}
			if s, err := f.status(i); err == nil && s.Gate.Open {
				took = time.Since(began)
				return true
			}
		}
		return false
	})
	if took > slowTrial {
		f.showLogs(began)
	}
	return leader, took
}

const slowTrial = 1500 * time.Millisecond // a trial that takes longer shows the logs of the nodes

// showLogs logs what the nodes have logged since began.
func (f trialFoundry) showLogs(began time.Time) {
	for i, n := range f.nodes {
		text, _ := os.ReadFile(n.log.Name())
		var lines []string
		for line := range strings.Lines(string(text)) {
			stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && at.After(began.Add(-50*time.Millisecond)) {
				lines = append(lines, fmt.Sprintf("%6.3f %s", at.Sub(began).Seconds(), strings.TrimPrefix(line, "time="+stamp+" ")))
			}
		}
		f.t.Logf("a slow trial; hm-%d:\n%s", i, strings.Join(lines, ""))
	}
}

// report logs the figures of all trials and checks that no command was sent.
func (f trialFoundry) report(what string, took []time.Duration) {
	f.t.Helper()
	slices.SortFunc(took, cmp.Compare[time.Duration])
	var all []string
	for _, d := range took {
		all = append(all, fmt.Sprintf("%.2f", d.Seconds()))
	}
	f.t.Logf("%s: %d trials, until the next gate is open: min %s s, median %.2f s, worst %s s (%s)", what, len(took),
		all[0], (took[(len(took)-1)/2]+took[len(took)/2]).Seconds()/2, all[len(all)-1], strings.Join(all, " "))
	f.wantNoCommands(what)
}

// TestFailoverKilledLeader: the leader's process gets SIGKILL.
func TestFailoverKilledLeader(t *testing.T) {
	f, trials := newTrials(t)
	var took []time.Duration
	for range trials {
		leader, d := f.trial(func(leader int) { f.nodes[leader].signal(syscall.SIGKILL) })
		took = append(took, d)
		f.nodes[leader].start()
	}
	f.report("leader killed", took)
}

// TestFailoverLeaderLosesNATS: only the leader's link to NATS is lost: its connection is closed and every further one
// refused, or it stays open and passes nothing.
func TestFailoverLeaderLosesNATS(t *testing.T) {
	for _, mode := range []tcpproxy.Mode{tcpproxy.Refuse, tcpproxy.Hold} {
		t.Run(mode.String(), func(t *testing.T) {
			f, trials := newTrials(t)
			var took []time.Duration
			for range trials {
				leader, d := f.trial(func(leader int) { f.proxies[leader].Set(mode) })
				took = append(took, d)
				moved := time.Now()
				f.proxies[leader].Set(tcpproxy.Pass)
				bustest.Until(t, "the leader's link is back", func() bool {
					s, err := f.status(leader)
					return err == nil && s.NATS.Connected
				})
				f.awaitReady()
				time.Sleep(time.Until(moved.Add(3*f.period + time.Second))) // at most one handover in a freshness window
			}
			f.report("leader without NATS ("+mode.String()+")", took)
		})
	}
}
