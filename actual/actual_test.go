package actual

import (
	"strings"
	"testing"
)

func TestStatesHaveTheDEAsWords(t *testing.T) {
	live := map[State]bool{Starting: true, Running: true}
	for s, word := range map[State]string{Starting: "STARTING", Running: "RUNNING", Crashed: "CRASHED", Evacuating: "EVACUATING"} {
		if s.String() != word {
			t.Errorf("state %d reads %q, want %q", s, s, word)
		}
		if got, err := ParseState(word); err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v", word, got, err)
		}
		if got, err := ParseState([]byte(word)); err != nil || got != s {
			t.Errorf("ParseState of the bytes %q = %v, %v", word, got, err)
		}
		if s.Live() != live[s] {
			t.Errorf("%v live: %v", s, s.Live())
		}
	}
	for _, s := range []State{Unknown, Stopping} {
		if s.Live() || !s.Known() {
			t.Errorf("%v: live %v, known %v", s, s.Live(), s.Known())
		}
	}
	if State(0).Known() || State(7).Known() {
		t.Error("a number that is no state is known")
	}
	if State(0).Live() || State(9).Live() {
		t.Error("an unknown state is live")
	}
	if got := State(9).String(); got != "UNKNOWN(9)" {
		t.Errorf("an unknown state reads %q", got)
	}
}

func TestParseStateRefusesOtherWords(t *testing.T) {
	for _, s := range []string{"", "running", "RUNNING ", "STOPPED", "DOWN", "BORN", "RESUMING", strings.Repeat("X", 1<<16), "RUNN\x00ING"} {
		_, err := ParseState(s)
		if st := StateOf(s); st != map[string]State{"running": Running, "STOPPED": Stopping}[s] && st != Unknown {
			t.Errorf("StateOf(%.20q) is %v", s, st)
		}
		if err == nil {
			t.Errorf("ParseState(%.20q) accepts it", s)
		} else if len(err.Error()) > 300 {
			t.Errorf("the error about %d bytes is %d bytes long", len(s), len(err.Error()))
		}
	}
}

func TestExitReasonsHaveTheDEAsWords(t *testing.T) {
	for r, word := range map[ExitReason]string{
		ExitCrashed: "CRASHED", ExitShutdown: "DEA_SHUTDOWN", ExitEvacuation: "DEA_EVACUATION", ExitStopped: "STOPPED", ExitOther: "OTHER", 0: "OTHER", 77: "OTHER",
	} {
		if r.String() != word {
			t.Errorf("reason %d reads %q, want %q", r, r, word)
		}
	}
}

// TestNumbersAreForEver holds the numbers that entries and snapshots carry.
func TestNumbersAreForEver(t *testing.T) {
	if Starting != 1 || Running != 2 || Crashed != 3 || Evacuating != 4 || Unknown != 5 || Stopping != 6 {
		t.Error("a state's number changed")
	}
	if ExitCrashed != 1 || ExitShutdown != 2 || ExitEvacuation != 3 || ExitStopped != 4 || ExitOther != 5 {
		t.Error("an exit reason's number changed")
	}
}

func TestValidDEA(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "0-3f2a1b4c0d9e4f008abc0123456789ab": true, "a": true, "a b": true, "a/b,c": true,
		"a\n": false, "a\x00": false, "é": false, "\x7f": false, strings.Repeat("d", MaxDEALen): true, strings.Repeat("d", MaxDEALen+1): false,
	} {
		if got := ValidDEA(s); got != want {
			t.Errorf("ValidDEA(%.40q) = %v, want %v", s, got, want)
		}
		if got := ValidDEA([]byte(s)); got != want {
			t.Errorf("ValidDEA of the bytes %.40q = %v, want %v", s, got, want)
		}
	}
}

func FuzzParseState(f *testing.F) {
	for _, s := range []string{"STARTING", "RUNNING", "CRASHED", "EVACUATING", "", "RUNNING\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if st, err := ParseState(s); err == nil && st.String() != s {
			t.Errorf("%q reads as %v", s, st)
		}
	})
}
