package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestRemoteScripts runs the commands that ask a node. Each script has its own servers in this process: HM_ADDR leads
// with an open gate, HELD has a closed gate, EMPTY has nothing recorded, CALM has no drift, ODDIDS has ids that need
// an escape, ODD has DEAs that send what hm cannot read, SHADOW is in shadow mode beside another health manager, FOLLOWER forwards to HM_ADDR, LOCKED needs the user amy and
// the password secret, and nothing listens at GONE.
func TestRemoteScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/remote",
		UpdateScripts:       os.Getenv("HM_TEST_UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			if err := endAtOnce(env); err != nil {
				return err
			}
			open := func(name string, o api.Options) error {
				s, err := api.Open(o)
				if err != nil {
					return err
				}
				env.Defer(func() { _ = s.Close() }) // a test of its own closes servers
				env.Setenv(name, "http://"+s.Addr())
				return nil
			}
			leader := apitest.Fleet()
			odd := apitest.New()
			for i, id := range []string{"-weird/id", "-weird/id/3", "weird", "weird/3", "..", "a/.."} {
				k := app.Key{Droplet: app.MustGUID(id), Version: app.MustGUID("version-of-" + id)}
				odd.Must(apitest.Start, raftfsm.DEAChanges{DEA: id,
					Upserts: []actual.Instance{apitest.Instance(k, i, 3, actual.Running)}})
			}
			held := apitest.Fleet()
			held.CloseGate("nats-down", "actual-stale")
			locked := apitest.Fleet().Options()
			locked.Username, locked.Password = "amy", "secret"
			roles := apitest.Fleet().Options()
			roles.AdminToken, roles.ReadToken = "admin-token-0123456789", "read-token-0123456789"
			for name, o := range map[string]api.Options{
				"HM_ADDR": leader.Options(), "HELD": held.Options(), "EMPTY": apitest.New().Options(),
				"CALM": apitest.Calm().Options(), "ODDIDS": odd.Options(), "ODD": apitest.WithUnreadable().Options(), "SHADOW": apitest.Shadow().Options(),
				"LOCKED": locked, "ROLES": roles,
			} {
				if err := open(name, o); err != nil {
					return err
				}
			}
			follower := apitest.Fleet()
			follower.Follow("hm-2", "hm-1", leader.Writes().Addr().String())
			if err := open("FOLLOWER", follower.Options()); err != nil {
				return err
			}
			env.Setenv("GONE", "http://127.0.0.1:1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"json":      checkJSON,
			"exec-code": execCode,
		},
	})
}

// checkJSON is the script command "json stdout": it must be one JSON value and nothing else.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: json FILE")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
}

// execCode is the script command "exec-code N program args...": exec that checks the exit code.
func execCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exec-code N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("running %v: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
