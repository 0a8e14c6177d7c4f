package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary act as the hm command, so that the scripts run the real program in a process of its
// own.
func TestMain(m *testing.M) {
	actAs()
	testscript.Main(tests{m}, map[string]func(){"hm": main})
}

// tests are the tests of this package. They fail if they leave temporary files.
type tests struct{ *testing.M }

func (m tests) Run() int {
	// The parallel tests wait for heartbeats most of the time, and hardly need a processor.
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
	left, err := os.ReadDir(temp)
	left = slices.DeleteFunc(left, func(e os.DirEntry) bool { // testscript removes it only after every script, not with -run
		return strings.HasPrefix(e.Name(), "go-test-script")
	})
	if err != nil || len(left) > 0 {
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
		Cmds:                map[string]func(ts *testscript.TestScript, neg bool, args []string){"truncate": truncate},
	})
}

// truncate is the script command "truncate FILE BYTES", which needs no program of the system.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// endAtOnce shortens the second for which a program with the race detector waits before it exits.
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
