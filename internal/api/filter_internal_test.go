package api

import (
	"strings"
	"testing"
)

func TestAFilterIsReadStrictly(t *testing.T) {
	for _, c := range []struct{ text, plain, wrong string }{
		{"", "", ""},
		{"drift=missing", "drift=missing", ""},
		{" drift = missing|crashed , findings>=2", "drift=missing|crashed,findings>=2", ""},
		{"drift!=any,crashes<3", "drift!=any,crashes<3", ""},
		{"app=a0*", "app=a0*", ""},
		{"drift", "", "has no operator"},
		{"drift!missing", "", "has no operator that exists"},
		{"drift=mising", "", `drift is never "mising"`},
		{"drift=miss*", "", `drift is never "miss*"`},
		{"drift>missing", "", "drift is a text"},
		{"drft=missing", "", `there is no field "drft"`},
		{"=missing", "", `there is no field ""`},
		{"crashes=many", "", "compared with a whole number"},
		{"crashes=1|2", "", "compared with a whole number"},
		{"drift=missing,", "", "has no operator"},
		{strings.Repeat("findings>1,", 16) + "findings>1", "", "17 conditions, at most 16"},
		{"app=" + strings.Repeat("a|", 32), "", "33 values, at most 32"},
		{"app=" + strings.Repeat("a", 1024), "", "1028 bytes, at most 1024"},
	} {
		f, err := parseFilter(c.text, appFields)
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%.40q: %v, want %s", c.text, err, c.wrong)
			}
		case err != nil || f.String() != c.plain:
			t.Errorf("%.40q gives %q (%v), want %q", c.text, f.String(), err, c.plain)
		}
	}
	if f, err := parseFilter("silence>1m30s,silence<=1.5h", deaFields); err != nil || f.String() != "silence>90000ms,silence<=5400000ms" {
		t.Errorf("durations: %q %v", f.String(), err)
	}
	if _, err := parseFilter("silence>3", deaFields); err == nil {
		t.Error("a duration without a unit is accepted")
	}
}

func TestANumberThatAnItemLacksMeetsOnlyUnequal(t *testing.T) {
	for text, want := range map[string]bool{"silence=0s": false, "silence<1h": false, "silence>=0s": false, "silence!=5s": true} {
		f, err := parseFilter(text, deaFields)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.match(&deaRow{}); got != want {
			t.Errorf("%s of a DEA that was never heard: %v, want %v", text, got, want)
		}
	}
}

// FuzzFilter: what is accepted has a plain form that means the same, and nothing panics.
func FuzzFilter(f *testing.F) {
	for _, text := range []string{"drift=missing", "drift!=any,crashes>=3", "app=a*|b,instances<2", "silence>1h,state=gone|silent", "due<-5s", "=,=", "a!b"} {
		f.Add(text, "-drift")
	}
	f.Fuzz(func(t *testing.T, text, sort string) {
		fuzzFilter(t, appFields, &appRow{}, text, sort)
		fuzzFilter(t, deaFields, &deaRow{}, text, sort)
		fuzzFilter(t, driftFields, &driftRow{}, text, sort)
		fuzzFilter(t, commandFields, &commandRow{ended: &Command{}}, text, sort)
		fuzzFilter(t, holdFields, &holdRow{}, text, sort)
	})
}

func fuzzFilter[T any](t *testing.T, fields []field[T], item *T, text, sort string) {
	if o, err := parseOrder(sort, fields); err == nil && o.String() != sort {
		t.Errorf("sort=%q reads as %q", sort, o)
	}
	f, err := parseFilter(text, fields)
	if err != nil {
		return
	}
	if len(f) > maxConditions {
		t.Fatalf("%q has %d conditions", text, len(f))
	}
	again, err := parseFilter(f.String(), fields)
	if len(f.String()) > maxFilter { // spelled out, milliseconds may be longer
		return
	}
	if err != nil || again.String() != f.String() {
		t.Fatalf("%q reads as %q, and that as %q (%v)", text, f, again, err)
	}
	if f.needs()&needsFinding == 0 && f.match(item) != again.match(item) {
		t.Errorf("%q and %q do not mean the same", text, f)
	}
}
