package feed

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"hm/actual"
	"hm/internal/app"
)

// seeds adds the seed messages of every fuzz target here.
func seeds(f *testing.F) {
	f.Helper()
	golden, err := os.ReadFile(filepath.Join("testdata", "heartbeat-100.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(golden), string(dea(7, 2)), string(beat()), string(beat(entry(nil))), string(beat(entry(nil), entry(nil), `{}`)),
		`{}`, `{"dea":"a","droplets":[{}]}`, `{"dea":"a","droplets":[1,"x",null,[],{"droplet":null}]}`, " {\"droplets\" : [ ] , \"dea\":\"x\"}\n",
		`{"a":{"b":[1,{"c":"\"]}"}]},"dea":"d\u0065a","droplets":[{"index":1e2,"state":"RUNN\u0049NG","droplet":"a","version":"b","instance":"c"}]}`,
		`{"dea":"a","dea":"b","droplets":[],"droplets":[{"index":3.0,"index":"x"}]}`, "{\"dea\":\"a\",\"x\":\"\xff\",\"droplets\":[]}",
		`{"dea":"a","droplets":[{"droplet":"a","version":"b","instance":"c","index":0,"state":"CRASHED","state_timestamp":-1.5e300}]}`,
		string(beat(entry(map[string]string{"state": `"RESUMING"`}), entry(map[string]string{"state": `"stopped"`, "state_timestamp": `"x"`}), entry(map[string]string{"index": `"0"`}), entry(map[string]string{"instance": ""}))),
		`{"droplet":"` + d1 + `","version":"` + v1 + `","instance":"` + i1 + `","index":3,"reason":"CRASHED","exit_status":-1,"exit_description":"out of memory","crash_timestamp":1404260398}`,
		`{"droplet":"a","version":"b","instance":"c","index":0,"reason":"dea_evacuation"}`, `{"droplet":"` + d1 + `"}`, `{"droplet":null}`, `[[[[`, `"\ud800"`,
	} {
		f.Add([]byte(s))
	}
}

// reference decodes a heartbeat with encoding/json, as the doc comment of DecodeHeartbeat says. It has no limits on
// size and depth.
func reference(data []byte) (hb actual.Heartbeat, ok bool) {
	var message map[string]json.RawMessage
	var list []json.RawMessage
	if json.Unmarshal(data, &message) != nil || json.Unmarshal(message["dea"], &hb.DEA) != nil || !actual.ValidDEA(hb.DEA) {
		return hb, false
	}
	if json.Unmarshal(message["droplets"], &list) != nil || list == nil || len(list) > actual.MaxInstances {
		return hb, false
	}
	at := map[app.GUID]int{}
	for _, raw := range list {
		in, ok := referenceEntry(raw, &hb)
		if !ok {
			hb.Rejected++
			continue
		}
		if i, twice := at[in.GUID]; twice {
			hb.Rejected++
			was := hb.Instances[i]
			if was.App != in.App || was.Index != in.Index || was.State != in.State {
				hb.Contradicted = append(hb.Contradicted, in.GUID)
			}
			if in.State.Live() || !was.State.Live() {
				hb.Instances[i] = in
			}
			continue
		}
		at[in.GUID] = len(hb.Instances)
		hb.Instances = append(hb.Instances, in)
	}
	for _, in := range hb.Instances {
		if in.State == actual.Unknown {
			hb.UnknownStates++
		}
	}
	return hb, true
}

// referenceEntry decodes an entry. If it is no instance, its guids go into hb.Unreadable and hb.Unplaced.
func referenceEntry(raw json.RawMessage, hb *actual.Heartbeat) (in actual.Instance, ok bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return in, false
	}
	guid := func(name string) app.GUID {
		var s *string
		if json.Unmarshal(m[name], &s) != nil || s == nil {
			return app.GUID{}
		}
		g, _ := app.ParseGUID(*s)
		return g
	}
	in.App.Droplet, in.App.Version, in.GUID = guid("droplet"), guid("version"), guid("instance")
	in.State = actual.Unknown
	var state *string
	if json.Unmarshal(m["state"], &state) == nil && state != nil {
		in.State = actual.StateOf(*state)
	}
	var index *float64
	placed := json.Unmarshal(m["index"], &index) == nil && index != nil && *index == float64(uint16(*index))
	known := !in.App.Droplet.IsZero() && !in.App.Version.IsZero()
	if !placed || !known || in.GUID.IsZero() {
		if !in.GUID.IsZero() {
			hb.Unreadable = append(hb.Unreadable, in.GUID)
		}
		if known && in.State != actual.Crashed && in.State != actual.Stopping {
			hb.Unplaced = append(hb.Unplaced, actual.Unplaced{App: in.App, GUID: in.GUID})
		}
		return in, false
	}
	in.Index = uint32(*index)
	if ts := m["state_timestamp"]; len(ts) > 0 && (ts[0] == '-' || ts[0] >= '0' && ts[0] <= '9') {
		in.Since = parseMillis(ts) // TestStateTimestamp tests it
	} else {
		hb.Untimed++
	}
	return in, true
}

// FuzzHeartbeat checks that the fast decoder, the full decoder and the reference return the same.
func FuzzHeartbeat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := scanHeartbeat(data)
		full, fullErr := readHeartbeat(data)
		if ok && (fullErr != nil || !same(fast, full)) {
			t.Fatalf("the fast decoder returns %+v, the full decoder %+v, %v", fast, full, fullErr)
		}
		hb, err := DecodeHeartbeat(data)
		if want, ok := reference(data); check(data) == nil && (ok != (err == nil) || ok && !same(hb, want)) {
			t.Fatalf("decoded as %+v, %v; the reference returns %+v, %v", hb, err, want, ok)
		}
		if err != nil {
			return
		}
		seen := map[app.GUID]bool{}
		for _, in := range hb.Instances {
			if in.App.Droplet.IsZero() || in.App.Version.IsZero() || in.GUID.IsZero() || seen[in.GUID] ||
				in.Index > actual.MaxIndex || !in.State.Known() || in.Since < 0 || in.Since > maxMillis {
				t.Fatalf("instance %+v", in)
			}
			seen[in.GUID] = true
		}
		if !actual.ValidDEA(hb.DEA) || len(hb.Instances)+hb.Rejected > actual.MaxInstances {
			t.Fatalf("heartbeat of %q with %d instances, %d rejected", hb.DEA, len(hb.Instances), hb.Rejected)
		}
	})
}

func same(a, b actual.Heartbeat) bool {
	return a.DEA == b.DEA && a.Rejected == b.Rejected && a.UnknownStates == b.UnknownStates && a.Untimed == b.Untimed && len(a.Instances) == len(b.Instances) &&
		slices.Equal(a.Unreadable, b.Unreadable) && slices.Equal(a.Unplaced, b.Unplaced) && slices.Equal(a.Contradicted, b.Contradicted) &&
		(len(a.Instances) == 0 || reflect.DeepEqual(a.Instances, b.Instances))
}

// FuzzSender checks that the sender of a valid heartbeat is its dea, and that other messages cause no panic.
func FuzzSender(f *testing.F) {
	seeds(f)
	for _, s := range []string{`{"dea":"a","droplets":[],"dea":"b"}`, `{"dea" : "a" , "droplets":[NaN]}`, `{"droplets":[{"dea":"x"}],"dea":"a"}`, `{"droplets":[],"x":{},"dea":"a"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sender := Sender(data)
		if sender != "" && !actual.ValidDEA(sender) {
			t.Fatalf("%q is not a valid DEA id", sender)
		}
		if hb, err := DecodeHeartbeat(data); err == nil && sender != "" && sender != hb.DEA && !bytes.Contains(data, []byte(`\`)) && bytes.Count(data, []byte(`"dea"`)) == 1 {
			t.Fatalf("%s has the dea %q, but Sender returns %q", data, hb.DEA, sender)
		}
	})
}

func FuzzExit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeExit(data)
		if err != nil {
			if e != (actual.Exit{}) {
				t.Fatalf("DecodeExit returns both %v and %+v", err, e)
			}
			return
		}
		if e.App.Droplet.IsZero() || e.App.Version.IsZero() || e.Instance.IsZero() || e.Index > actual.MaxIndex || e.Reason < actual.ExitCrashed || e.Reason > actual.ExitOther {
			t.Fatalf("exit %+v", e)
		}
	})
}

func FuzzUpdated(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, err := DecodeUpdated(data); (err == nil) == g.IsZero() {
			t.Fatalf("%v with %v", g, err)
		}
	})
}

// FuzzGUID checks that guids are the same whether hm reads them eight digits at a time or one by one.
func FuzzGUID(f *testing.F) {
	for _, s := range []string{d1, i1, "00000000-0000-0000-0000-000000000000", "3F2A1B4C-0D9E-4F00-8ABC-0123456789AB", "3f2a1b4c-0d9e-4f00-8abc-0123456789ag", "/0:`fg@G", "a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scanner{data: append(append([]byte(`"`), text...), `"     `...)}
		var g app.GUID
		ok := s.guid(&g)
		want, err := app.ParseGUIDBytes(text)
		for _, c := range text {
			if c == '"' || c == '\\' {
				return // the string ends earlier
			}
		}
		if ok != (err == nil) || ok && (g != want || s.i != len(text)+2) {
			t.Fatalf("%q read as %v, %v; want %v, %v", text, g, ok, want, err)
		}
	})
}
