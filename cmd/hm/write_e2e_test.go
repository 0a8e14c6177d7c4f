package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// TestE2EWritesThroughEveryNode runs nodes as README's sample has them: the API at its default, on loopback, of which
// peers on other machines reach nothing. Here the machines are addresses of loopback, and each node's API is told to
// its peers under one at which nobody listens, as 127.0.0.1:5155 is on another machine.
func TestE2EWritesThroughEveryNode(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	dead := bustest.FreePorts(t, 1)[0]
	f := newFoundry(t, e2ePeriod, []string{"--apps", "5", "--deas", "3"}, fmt.Sprintf("api.advertise=127.0.0.1:%d", dead),
		"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s") // a loaded machine must not change the leader by itself
	f.awaitOpen("first")
	hm := func(node int, args ...string) error {
		var out, errs bytes.Buffer
		args = append(args, "--addr", f.apis[node], "--timeout", "20s")
		if code := newCLI(nil, &out, &errs).run(t.Context(), args); code != 0 {
			return fmt.Errorf("%v: exit %d: %s%s", args, code, &out, &errs)
		}
		return nil
	}
	for i := range f.apis {
		if err := hm(i, "pause", "--reason", "test"); err != nil {
			t.Fatal(err)
		}
		f.await("everyone is paused", 10*time.Second, func() bool {
			for n := range f.apis {
				if s, err := f.status(n); err != nil || len(s.Holds) != 1 {
					return false
				}
			}
			return true
		})
		if err := hm(i, "release", "paused"); err != nil {
			t.Fatal(err)
		}
		f.awaitOpen("after the release")
	}
}

// TestREADMEsConfigurationIsRight checks the sample for three machines as it is written.
func TestREADMEsConfigurationIsRight(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sample, _ := strings.Cut(string(readme), "```yaml\n# hm.yml\n")
	sample, _, found := strings.Cut(sample, "```")
	file := filepath.Join(t.TempDir(), "hm.yml")
	if err := os.WriteFile(file, []byte(sample), 0o600); err != nil || !found {
		t.Fatal(err, found)
	}
	var out, errs bytes.Buffer
	if code := newCLI(nil, &out, &errs).run(t.Context(), []string{"config", "check", "--config", file}); code != 0 {
		t.Errorf("exit %d: %s%s", code, &out, &errs)
	}
}
