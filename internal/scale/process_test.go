package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestProcess: a process is measured while it runs, its output is kept, and it ends when it is told to.
func TestProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("HM_TEST_REQUIRE=all asks for the memory of processes: %v", err)
		}
		t.Skipf("processes are measured on Linux: %v", err)
	}
	p, err := start(t.TempDir(), "shell", "/bin/sh", []string{"WORD=heard"}, "-c", "echo $WORD; while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := await(t.Context(), "processor time", time.Minute, func() bool { return p.cpu() > 50*time.Millisecond }); err != nil {
		t.Error(err)
	}
	if m := p.memory(); m.now > m.peak || m.files > m.now || m.peak == 0 && m.now != 0 {
		t.Errorf("memory %v", m)
	}
	p.end(syscall.SIGTERM)
	if got := p.tail(); got != "heard\n" {
		t.Errorf("its output is %q", got)
	}
}

func TestAwaitGivesUp(t *testing.T) {
	err := await(t.Context(), "what never comes", time.Millisecond, func() bool { return false })
	if !errors.Is(err, errLate) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestChosenScenarios(t *testing.T) {
	if err := measure(t.Context(), size{nodes: 1}, []string{"cold", "unknown"}, ""); err == nil {
		t.Error("a scenario that there is not")
	}
	if err := measure(t.Context(), size{nodes: 2}, names(), ""); err == nil {
		t.Error("two nodes")
	}
	ports, err := freePorts(20)
	if slices.Sort(ports); err != nil || len(slices.Compact(ports)) != 20 {
		t.Errorf("%v, %v", ports, err)
	}
}
