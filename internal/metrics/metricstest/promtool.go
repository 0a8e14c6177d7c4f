// Package metricstest runs promtool in tests.
package metricstest

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

// Promtool runs promtool with arguments, and fails the test with its output if it fails. It skips the test if there is
// no promtool, unless HM_TEST_REQUIRE=all asks for every test.
func Promtool(t *testing.T, stdin io.Reader, args ...string) (output string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatal("promtool is missing, and HM_TEST_REQUIRE=all asks for it: install Debian's package prometheus")
		}
		t.Skip("promtool is missing: install Debian's package prometheus")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = stdin
	if _, err := os.Stat("/dev/shm"); err == nil { // tests of rules write many small files, and sync each
		cmd.Env = append(os.Environ(), "TMPDIR=/dev/shm")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
	return string(out)
}
