package sampled

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineAPeriodAndKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)), time.Second)
		asked := 0
		attrs := func() []any { asked++; return []any{"n", asked} }
		for range 100 {
			l.Warn("a", "bad a", attrs)
		}
		l.Error("b", "bad b", nil)
		time.Sleep(time.Second)
		l.Warn("a", "bad a", attrs)

		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(got) != 3 {
			t.Fatalf("%d lines, want 3:\n%s", len(got), out.String())
		}
		for i, want := range []string{`level=WARN msg="bad a" n=1`, `level=ERROR msg="bad b"`, `level=WARN msg="bad a" n=2 suppressed=99`} {
			if !strings.HasSuffix(got[i], want) {
				t.Errorf("line %d is %q, want it to end in %q", i, got[i], want)
			}
		}
	})
}

func TestNilLoggerDiscards(t *testing.T) {
	New(nil, time.Second).Warn("a", "nothing", nil)
}
