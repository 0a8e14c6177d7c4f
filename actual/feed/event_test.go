package feed

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hm/actual"
	"hm/internal/app"
)

// exit returns a droplet.exited message with some fields replaced by JSON texts; an empty text removes the field.
func exit(change map[string]string) string {
	fields := []struct{ name, text string }{
		{"cc_partition", `"default"`}, {"droplet", `"` + d1 + `"`}, {"version", `"` + v1 + `"`}, {"instance", `"` + i1 + `"`}, {"index", "3"},
		{"reason", `"CRASHED"`}, {"exit_status", "-1"}, {"exit_description", `"out of memory"`}, {"crash_timestamp", "1404260398"},
	}
	var parts []string
	for _, f := range fields {
		if text, changed := change[f.name]; changed {
			f.text = text
		}
		if f.text != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", f.name, f.text))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestDecodeExit(t *testing.T) {
	want := actual.Exit{App: app.Key{Droplet: app.MustGUID(d1), Version: app.MustGUID(v1)}, Instance: app.MustGUID(i1), Index: 3, Reason: actual.ExitCrashed}
	for text, reason := range map[string]actual.ExitReason{
		"CRASHED": actual.ExitCrashed, "crashed": actual.ExitCrashed, "DEA_SHUTDOWN": actual.ExitShutdown, "dea_Evacuation": actual.ExitEvacuation,
		"STOPPED": actual.ExitStopped, "OTHER": actual.ExitOther, "": actual.ExitOther, "EXPLODED": actual.ExitOther, `CR\u0041SHED`: actual.ExitCrashed,
	} {
		want.Reason = reason
		got, err := DecodeExit([]byte(exit(map[string]string{"reason": `"` + text + `"`})))
		if err != nil || got != want {
			t.Errorf("reason %q gives %+v, %v, want %+v", text, got, err, want)
		}
	}
	want.Reason = actual.ExitCrashed
	for _, unusual := range []map[string]string{{"exit_status": `"x"`}, {"exit_description": "{}"}, {"crash_timestamp": ""}, {"cc_partition": "1"}, {"index": "3.0"}} {
		if got, err := DecodeExit([]byte(exit(unusual))); err != nil || got != want {
			t.Errorf("with %v it gives %+v, %v", unusual, got, err)
		}
	}
}

func TestBadExits(t *testing.T) {
	for name, want := range map[string]string{"droplet": "droplet", "version": "version", "instance": "instance", "index": "index", "reason": "reason"} {
		for _, text := range []string{"", "null", "{}", "true", `-1.5`} {
			e, err := DecodeExit([]byte(exit(map[string]string{name: text})))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) || e != (actual.Exit{}) {
				t.Errorf("%s %q gives %+v, %v", name, text, e, err)
			}
		}
	}
	for text, want := range map[string]error{
		``: ErrMalformed, `[]`: ErrMalformed, `null`: ErrMalformed, `{}`: ErrMalformed, `{"droplet"`: ErrMalformed, exit(nil) + "x": ErrMalformed,
		exit(map[string]string{"droplet": `"a b"`}):                                          ErrMalformed,
		exit(map[string]string{"index": "65536"}):                                            ErrMalformed,
		exit(map[string]string{"exit_description": `"` + strings.Repeat("x", 64<<10) + `"`}): ErrTooLarge,
		strings.Repeat("[", 1000):                                                            ErrTooLarge,
	} {
		if e, err := DecodeExit([]byte(text)); !errors.Is(err, want) || e != (actual.Exit{}) {
			t.Errorf("%.60q gives %+v, %v, want %v", text, e, err, want)
		}
	}
}

func TestDecodeUpdated(t *testing.T) {
	for _, text := range []string{`{"droplet":"` + d1 + `"}`, `{"droplet":1,"cc_partition":{},"droplet":"` + d1 + `"}`} {
		if g, err := DecodeUpdated([]byte(text)); err != nil || g != app.MustGUID(d1) {
			t.Errorf("%s gives %v, %v", text, g, err)
		}
	}
	for text, want := range map[string]error{
		``: ErrMalformed, `{}`: ErrMalformed, `{"droplet":null}`: ErrMalformed, `{"droplet":7}`: ErrMalformed, `{"droplet":""}`: ErrMalformed,
		`{"Droplet":"` + d1 + `"}`: ErrMalformed, `"` + d1 + `"`: ErrMalformed, strings.Repeat(" ", MaxEvent+1): ErrTooLarge,
	} {
		if g, err := DecodeUpdated([]byte(text)); !errors.Is(err, want) || !g.IsZero() {
			t.Errorf("%.60q gives %v, %v, want %v", text, g, err, want)
		}
	}
}
