package importlaw

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// notInDaemons are packages that a daemon need not carry: a program built with the tag lean has none of them.
var notInDaemons = []string{
	"github.com/nats-io/nats-server/...", "modernc.org/...", "hm/internal/sim/...", "hm/internal/sandbox/...",
}

// TestLeanProgram holds that the program that packages install carries no NATS server, no SQLite and no simulation.
func TestLeanProgram(t *testing.T) {
	lean, full := programImports(t, "lean"), programImports(t, "")
	for _, p := range lean {
		if matches(notInDaemons, p) {
			t.Errorf("go build -tags lean ./cmd/hm has %s in it: a daemon need not carry that", p)
		}
	}
	for _, pattern := range notInDaemons {
		if !slices.ContainsFunc(full, func(p string) bool { return matches([]string{pattern}, p) }) {
			t.Errorf("no program has %s in it: the law is about nothing", pattern)
		}
	}
}

// programImports gives the packages that the program has in it.
func programImports(t *testing.T, tags string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, "./cmd/hm")
	cmd.Dir = moduleRoot(t)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0") // as packages are built
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, errs.String())
	}
	return strings.Fields(string(out))
}
