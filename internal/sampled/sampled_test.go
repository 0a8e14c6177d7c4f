package sampled

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineAPeriodAndKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)), time.Second, 1)
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
	New(nil, time.Second, 1).Warn("a", "nothing", nil)
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)), time.Second, 3)
		for range 5 {
			l.Warn("a", "bad", nil)
			l.Log(slog.LevelDebug, "a", "below the logger's level, which counts nothing", nil)
		}
		time.Sleep(time.Second)
		l.Warn("a", "bad", nil)
		l.Warn("a", "bad", nil)

		if lines := strings.Count(out.String(), "msg=bad"); lines != 5 {
			t.Errorf("%d lines, want 3 and then 2:\n%s", lines, out.String())
		}
		if counts := strings.Count(out.String(), "suppressed="); counts != 1 || !strings.Contains(out.String(), "suppressed=2\n") {
			t.Errorf("want suppressed=2 once:\n%s", out.String())
		}
	})
}

// TestKindsAreBounded: kinds with variable text do not take memory for ever.
func TestKindsAreBounded(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler), time.Second, 1)
	now := time.Now()
	for i := range 10 * maxKinds {
		l.admit(strconv.Itoa(i), now)
	}
	if len(l.kinds) > maxKinds {
		t.Errorf("%d kinds kept, want at most %d", len(l.kinds), maxKinds)
	}
}

// TestLeftOut says what a flood left out once its period is over, and only once.
func TestLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)), time.Second, 3)
		for range 10 {
			l.Warn("a", "bad", nil)
		}
		l.Warn("b", "bad", nil)
		out.Reset()
		if l.LeftOut(slog.LevelInfo, "left out"); out.Len() > 0 {
			t.Errorf("within the period:\n%s", out.String())
		}
		time.Sleep(time.Second)
		for range 2 {
			l.LeftOut(slog.LevelInfo, "left out")
		}
		l.Warn("a", "bad", nil)
		if got := strings.Count(out.String(), "suppressed="); got != 1 || !strings.Contains(out.String(), `msg="left out" kind=a suppressed=7`) {
			t.Errorf("after the period:\n%s", out.String())
		}
	})
}
