package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the hm command, so that the scripts run the real program in a process of its
// own, with exit codes and streams.
func TestMain(m *testing.M) {
	actAs()
	testscript.Main(m, map[string]func(){"hm": main})
}

// TestScripts runs every script in testdata/script. With HM_TEST_UPDATE set, cmp rewrites what differs.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("HM_TEST_UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               endAtOnce,
	})
}

// endAtOnce lets the programs of a script end when they are done: with the race detector, each of them would wait a
// second for what its goroutines still do.
func endAtOnce(env *testscript.Env) error {
	env.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=20")
	return nil
}
