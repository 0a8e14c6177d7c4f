package commands_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hm/commands"
	"hm/internal/app"
)

const t0 = app.Time(1_700_000_000_000)

var (
	key = app.Key{Droplet: app.MustGUID("droplet"), Version: app.MustGUID("v1")}

	start1 = commands.Command{Action: commands.Start, App: key, Index: 1, Reason: commands.ReasonMissing, CreatedAt: t0}
	stop2  = commands.Command{
		Action: commands.Stop, App: app.Key{Droplet: app.MustGUID("3f2a1b4c-0d9e-4f00-8abc-0123456789ab"), Version: app.MustGUID("3f2a1b4c0d9e4f008abc0123456789ab")},
		Index: 2, Instance: app.MustGUID("0123"), Reason: commands.ReasonDuplicate, CreatedAt: t0,
	}
)

// TestNewIDIsStable holds the ids for ever: recordings and journals contain them.
func TestNewIDIsStable(t *testing.T) {
	for _, c := range []struct {
		cmd  commands.Command
		want string
	}{{start1, "26b38f3e-9f32-8c8b-a620-339de7fef68d"}, {stop2, "33c108b2-2a7b-86da-9df7-c63fb877dc0f"}} {
		if got := commands.NewID(c.cmd).String(); got != c.want {
			t.Errorf("%+v has the id %s, want %s", c.cmd, got, c.want)
		}
	}
}

func TestNewIDDependsOnItsSubjectOnly(t *testing.T) {
	same := start1
	same.Priority, same.DueAt, same.State, same.Term, same.SentAt = 1, t0+1, commands.Sent, 7, t0+2
	if commands.NewID(same) != commands.NewID(start1) {
		t.Error("the id depends on how far a command has come")
	}
	seen := map[commands.ID]string{commands.NewID(start1): "itself"}
	for name, change := range map[string]func(*commands.Command){
		"action":   func(c *commands.Command) { c.Action = commands.Stop },
		"droplet":  func(c *commands.Command) { c.App.Droplet = app.MustGUID("droplet2") },
		"version":  func(c *commands.Command) { c.App.Version = app.MustGUID("v2") },
		"swapped":  func(c *commands.Command) { c.App.Droplet, c.App.Version = c.App.Version, c.App.Droplet },
		"cut":      func(c *commands.Command) { c.App.Droplet, c.App.Version = app.MustGUID("dropletv"), app.MustGUID("1") },
		"index":    func(c *commands.Command) { c.Index = 2 },
		"instance": func(c *commands.Command) { c.Instance = app.MustGUID("x") },
		"reason":   func(c *commands.Command) { c.Reason = commands.ReasonCrashed },
		"time":     func(c *commands.Command) { c.CreatedAt++ },
	} {
		c := start1
		change(&c)
		id := commands.NewID(c)
		if other, taken := seen[id]; taken {
			t.Errorf("another %s gives the same id as %s", name, other)
		}
		seen[id] = "another " + name
	}
}

func TestIDsAreVersion8UUIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := start1
		c.Index = rapid.Uint32().Draw(t, "index")
		c.CreatedAt = app.Time(rapid.Int64().Draw(t, "created"))
		id := commands.NewID(c)
		s := id.String()
		if s[14] != '8' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("%s is not a version 8 UUID", s)
		}
		if back, err := commands.ParseID(s); err != nil || back != id {
			t.Fatalf("%s reads as %s: %v", s, back, err)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "00000000-0000-8000-8000-000000000000", "zz000000-0000-8000-8000-000000000000", "00000000-0000-8000-8000-00000000000é", "00000000_0000-8000-8000-000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := commands.ParseID(s)
		if err == nil && !strings.EqualFold(id.String(), s) {
			t.Errorf("%q reads as %s", s, id.String())
		}
	})
}

func TestWords(t *testing.T) {
	for s := commands.State(0); s <= 9; s++ {
		want := s == commands.Pending || s == commands.Claimed || s == commands.Sent
		if s.Outstanding() != want {
			t.Errorf("%v outstanding: %v, want %v", s, s.Outstanding(), want)
		}
	}
	if got := commands.State(200).String(); got != "unknown(200)" {
		t.Errorf("an unknown state reads %q", got)
	}
	for reason, want := range map[commands.Reason]bool{
		commands.ReasonExtra: false, commands.ReasonDuplicate: true, commands.ReasonEvacuationComplete: true, commands.ReasonMissing: false,
	} {
		if got := (commands.Command{Reason: reason}).IsDuplicate(); got != want {
			t.Errorf("is_duplicate of %v is %v, want %v (R53)", reason, got, want)
		}
	}
}

func TestCompareIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawAny(t), drawAny(t), drawAny(t)
		sign := func(n int) int { return max(-1, min(1, n)) }
		if sign(a.Compare(b)) != -sign(b.Compare(a)) {
			t.Fatalf("%+v and %+v compare as %d and %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("not transitive: %+v, %+v, %+v", a, b, c)
		}
	})
}
