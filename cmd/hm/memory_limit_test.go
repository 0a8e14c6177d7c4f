package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMemoryLimit: the limit that the environment gives wins over that of the container, and the log has it.
func TestMemoryLimit(t *testing.T) {
	if os.Getenv("GOMEMLIMIT") != "" {
		var out bytes.Buffer
		limitMemory(slog.New(slog.NewTextHandler(&out, nil)))
		if !strings.Contains(out.String(), `msg="the garbage collector keeps to a limit" bytes=1073741824`) {
			t.Errorf("the log has %q", &out)
		}
		return
	}
	alone := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	alone.Env = append(os.Environ(), "GOMEMLIMIT=1GiB")
	if out, err := alone.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
