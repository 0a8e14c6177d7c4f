package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the hm command, so that the scripts run the real program in a process of its
// own, with exit codes and streams.
func TestMain(m *testing.M) {
	actAs()
	testscript.Main(tests{m}, map[string]func(){"hm": main})
}

// tests are those of the package: what they leave in the directory for temporary files fails them.
type tests struct{ *testing.M }

func (m tests) Run() int {
	// The parallel tests wait for heartbeats most of their time, and hardly need a processor.
	if err := flag.Set("test.parallel", fmt.Sprint(3*runtime.GOMAXPROCS(0))); err != nil { // -parallel counts more
		panic(err)
	}
	temp, err := os.MkdirTemp("", "hm-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", temp)
	}
	if err != nil {
		panic(err)
	}
	code := m.M.Run()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left behind in %s: %v, %v\n", temp, left, err)
		code = max(code, 1)
	}
	if err := os.RemoveAll(temp); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
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

// takesSeconds skips a test under -short, unless HM_TEST_REQUIRE=all asks for everything.
func takesSeconds(t *testing.T) {
	t.Helper()
	if testing.Short() && os.Getenv("HM_TEST_REQUIRE") != "all" {
		t.Skip("runs a cluster for seconds")
	}
}
