package feed

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hm/actual"
	"hm/internal/app"
)

var update = flag.Bool("update", false, "update the golden files")

const (
	d1 = "3f2a1b4c-0d9e-4f00-8abc-0123456789ab"
	v1 = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	i1 = "0123456789abcdef0123456789abcdef"
	i2 = "fedcba9876543210fedcba9876543210"
)

// dea returns a heartbeat as a DEA writes it: droplets first, dea last, fixed order, no spaces.
func dea(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	uuid := func() string {
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>16, r.Uint32()>>16, r.Uint64()>>16)
	}
	states := []string{"RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "STARTING", "CRASHED", "EVACUATING"}
	b := []byte(`{"droplets":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"cc_partition":"default","droplet":"%s","version":"%s","instance":"%016x%016x","index":%d,"state":"%s","state_timestamp":%d.%d}`,
			uuid(), uuid(), r.Uint64(), r.Uint64(), r.IntN(12), states[r.IntN(len(states))], 1_404_260_000+r.IntN(1_000_000), r.IntN(10_000_000))
	}
	return fmt.Appendf(b, `],"dea":"2-%016x%016x"}`, r.Uint64(), r.Uint64())
}

// entry returns one entry with some fields replaced by JSON texts. An empty text removes the field.
func entry(change map[string]string) string {
	var parts []string
	for _, f := range [][2]string{
		{"droplet", `"` + d1 + `"`}, {"version", `"` + v1 + `"`}, {"instance", `"` + i1 + `"`}, {"index", "0"},
		{"state", `"RUNNING"`}, {"state_timestamp", "1404260398.123"},
	} {
		text, changed := change[f[0]]
		if !changed {
			text = f[1]
		}
		if text != "" {
			parts = append(parts, `"`+f[0]+`":`+text)
		}
	}
	for name, text := range change {
		if !strings.Contains(" droplet version instance index state state_timestamp ", " "+name+" ") {
			parts = append(parts, name+":"+text)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func beat(entries ...string) []byte {
	return []byte(`{"droplets":[` + strings.Join(entries, ",") + `],"dea":"dea-1"}`)
}

// golden is a heartbeat as the golden file has it.
type golden struct {
	DEA       string   `json:"dea"`
	Rejected  int      `json:"rejected"`
	Instances []string `json:"instances"`
}

func show(hb actual.Heartbeat) golden {
	g := golden{DEA: hb.DEA, Rejected: hb.Rejected, Instances: []string{}}
	for _, in := range hb.Instances {
		g.Instances = append(g.Instances, fmt.Sprintf("%s %s %s %d %s %d", in.App.Droplet, in.App.Version, in.GUID, in.Index, in.State, in.Since))
	}
	return g
}

func TestGoldenHeartbeat(t *testing.T) {
	in, out := filepath.Join("testdata", "heartbeat-100.json"), filepath.Join("testdata", "heartbeat-100.golden")
	if *update {
		if err := os.WriteFile(in, dea(1, 100), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := scanHeartbeat(data); !ok {
		t.Error("the fast decoder does not accept a heartbeat of a DEA")
	}
	hb, err := DecodeHeartbeat(data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(show(hb), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(out, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the decoded %s differs from %s; if that is right, run with -update", in, out)
	}
}

func TestHeartbeatIsRefusedWhole(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, data string
		want       error
	}{
		{"empty", ``, ErrMalformed},
		{"spaces", " \n", ErrMalformed},
		{"not JSON", `dea`, ErrMalformed},
		{"cut off", `{"droplets":[],"dea":"dea-1"`, ErrMalformed},
		{"cut off in a string", `{"droplets":[],"dea":"de`, ErrMalformed},
		{"text after the end", `{"droplets":[],"dea":"dea-1"} x`, ErrMalformed},
		{"two messages", `{"droplets":[],"dea":"dea-1"}{"droplets":[],"dea":"dea-1"}`, ErrMalformed},
		{"bare control character", "{\"droplets\":[],\"dea\":\"dea\n1\"}", ErrMalformed},
		{"control character in an ignored field", "{\"x\":\"a\tb\",\"droplets\":[],\"dea\":\"dea-1\"}", ErrMalformed},
		{"control character in an entry", string(beat(entry(map[string]string{`"x"`: "\"\x01\""}))), ErrMalformed},
		{"control character in a name", "{\"x\n\":1,\"droplets\":[],\"dea\":\"dea-1\"}", ErrMalformed},
		{"bad escape in an ignored field", `{"x":"\q","droplets":[],"dea":"dea-1"}`, ErrMalformed},
		{"bad number in an ignored field", `{"x":01,"droplets":[],"dea":"dea-1"}`, ErrMalformed},
		{"trailing comma", `{"droplets":[],"dea":"dea-1",}`, ErrMalformed},
		{"array", `[]`, ErrMalformed}, {"null", `null`, ErrMalformed}, {"number", `1`, ErrMalformed}, {"string", `"x"`, ErrMalformed},
		{"W13, N08: empty object", `{}`, ErrMalformed},
		{"W13: no dea", `{"droplets":[]}`, ErrMalformed},
		{"W13: empty dea", `{"droplets":[],"dea":""}`, ErrMalformed},
		{"dea null", `{"droplets":[],"dea":null}`, ErrMalformed},
		{"dea number", `{"droplets":[],"dea":7}`, ErrMalformed},
		{"dea not ASCII", `{"droplets":[],"dea":"é"}`, ErrMalformed},
		{"dea with an escaped control character", `{"droplets":[],"dea":"a\u0000"}`, ErrMalformed},
		{"dea too long", `{"droplets":[],"dea":"` + strings.Repeat("x", actual.MaxDEALen+1) + `"}`, ErrMalformed},
		{"dea given twice, the last one bad", `{"dea":"dea-1","droplets":[],"dea":1}`, ErrMalformed},
		{"names are case-sensitive", `{"droplets":[],"DEA":"dea-1"}`, ErrMalformed},
		{"no droplets", `{"dea":"dea-1"}`, ErrMalformed},
		{"droplets null", `{"droplets":null,"dea":"dea-1"}`, ErrMalformed},
		{"droplets object", `{"droplets":{},"dea":"dea-1"}`, ErrMalformed},
		{"droplets string", `{"droplets":"[]","dea":"dea-1"}`, ErrMalformed},
		{"droplets given twice, the last one bad", `{"droplets":[],"dea":"dea-1","droplets":1}`, ErrMalformed},
		{"too deep", `{"droplets":[],"dea":"dea-1","x":` + nest(MaxDepth) + `}`, ErrTooLarge},
		{"far too deep", strings.Repeat("[", 1<<20), ErrTooLarge},
		{"too many entries", `{"droplets":[` + strings.Repeat("0,", actual.MaxInstances) + `0],"dea":"dea-1"}`, ErrTooLarge},
		{"too many good entries", string(dea(1, actual.MaxInstances+1)), ErrTooLarge},
		{"too large", `{"droplets":[],"dea":"dea-1"` + strings.Repeat(" ", MaxHeartbeat) + `}`, ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			hb, err := DecodeHeartbeat([]byte(c.data))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if !reflect.DeepEqual(hb, actual.Heartbeat{}) {
				t.Errorf("DecodeHeartbeat returns %+v with the error", hb)
			}
		})
	}
}

func TestOneBadEntryCostsOnlyItself(t *testing.T) {
	good := entry(map[string]string{"instance": `"` + i2 + `"`, "index": "1"})
	for _, c := range []struct{ name, bad string }{
		{"droplet missing", entry(map[string]string{"droplet": ""})},
		{"version missing", entry(map[string]string{"version": ""})},
		{"instance missing", entry(map[string]string{"instance": ""})},
		{"index missing", entry(map[string]string{"index": ""})},
		{"droplet null", entry(map[string]string{"droplet": "null"})},
		{"index null", entry(map[string]string{"index": "null"})},
		{"N08, W14: index as text", entry(map[string]string{"index": `"0"`})},
		{"index not whole", entry(map[string]string{"index": "0.5"})},
		{"index negative", entry(map[string]string{"index": "-1"})},
		{"index too large", entry(map[string]string{"index": fmt.Sprint(actual.MaxIndex + 1)})},
		{"index five digits too large", entry(map[string]string{"index": "99999"})},
		{"index huge", entry(map[string]string{"index": "1e300"})},
		{"index beyond float64", entry(map[string]string{"index": "1e999"})},
		{"index true", entry(map[string]string{"index": "true"})},
		{"index object", entry(map[string]string{"index": "{}"})},
		{"droplet number", entry(map[string]string{"droplet": "1"})},
		{"droplet empty", entry(map[string]string{"droplet": `""`})},
		{"droplet with a space", entry(map[string]string{"droplet": `"a b"`})},
		{"droplet too long", entry(map[string]string{"droplet": `"` + strings.Repeat("x", app.MaxGUIDLen+1) + `"`})},
		{"droplet not UTF-8", entry(map[string]string{"droplet": "\"\xff\xfe\""})},
		{"instance array", entry(map[string]string{"instance": "[]"})},
		{"instance with an escaped control character", entry(map[string]string{"instance": `"a\u0001"`})},
		{"index given twice, the last one bad", entry(map[string]string{`"index"`: `"x"`})},
		{"not an object", `[]`}, {"null", `null`}, {"number", `17`}, {"text", `"x"`}, {"empty object", `{}`},
		{"W53: nested nonsense", `{"droplet":{"droplet":"x"},"instance":[{}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, list := range [][]string{{c.bad, good}, {good, c.bad}, {c.bad, good, c.bad}} {
				hb, err := DecodeHeartbeat(beat(list...))
				if err != nil {
					t.Fatal(err)
				}
				if len(hb.Instances) != 1 || hb.Instances[0].Index != 1 || hb.Rejected != len(list)-1 || hb.DEA != "dea-1" || hb.UnknownStates != 0 || !hb.HasUnreadable() || hb.Why == "" {
					t.Errorf("%s gives %+v", list, show(hb))
				}
			}
		})
	}
}

func TestUnusualHeartbeatsThatAreValid(t *testing.T) {
	plain := show(mustDecode(t, beat(entry(nil))))
	for _, c := range []struct{ name, data string }{
		{"dea first", `{"dea":"dea-1","droplets":[` + entry(nil) + `]}`},
		{"spaces", "\r\n\t { \"droplets\" : [ " + strings.NewReplacer(`:`, ` : `, `,`, " ,\n").Replace(entry(nil)) + ` ] , "dea" : "dea-1" } `},
		{"any order", `{"droplets":[{"state_timestamp":1404260398.123,"state":"RUNNING","index":0,"instance":"` + i1 + `","version":"` + v1 + `","droplet":"` + d1 + `"}],"dea":"dea-1"}`},
		{"unknown fields", `{"a":1,"droplets":[` + entry(map[string]string{`"dea_guid"`: `"other"`, `"x"`: "-1.5e+3", `"y"`: "true", `"z"`: "null", `"w"`: "false"}) + `],"b":"x","dea":"dea-1"}`},
		{"nested unknown fields", `{"a":{"dea":"no"},"droplets":[` + entry(map[string]string{`"x"`: `{"droplet":["]}",{}]}`, `"y"`: `[[],{"a":"\"]"}]`}) + `],"dea":"dea-1"}`},
		{"invalid UTF-8 in ignored fields", "{\"a\":\"\xff\",\"\xfe\":1,\"droplets\":[" + entry(map[string]string{`"cc_partition"`: "\"\xc3\x28\""}) + "],\"dea\":\"dea-1\"}"},
		{"escapes", `{"dropl\u0065ts":[` + entry(map[string]string{"state": `"RUNN\u0049NG"`, "droplet": `"3f2a1b4c\u002d0d9e-4f00-8abc-0123456789ab"`}) + `],"d\u0065a":"dea\u002d1"}`},
		{"index as a float", string(beat(entry(map[string]string{"index": "0.0"})))},
		{"index with an exponent", string(beat(entry(map[string]string{"index": "0e5"})))},
		{"index minus zero", string(beat(entry(map[string]string{"index": "-0"})))},
		{"index given twice, the last one good", string(beat(`{"index":"x",` + entry(nil)[1:]))},
		{"dea given twice", `{"dea":1,"droplets":[` + entry(nil) + `],"dea":"dea-1"}`},
		{"droplets given twice", `{"droplets":[1,2],"droplets":[` + entry(nil) + `],"dea":"dea-1"}`},
		{"state_timestamp with an exponent", string(beat(entry(map[string]string{"state_timestamp": "1.404260398123e9"})))},
		{"state_timestamp finer than hm keeps", string(beat(entry(map[string]string{"state_timestamp": "1404260398.1239999"})))},
		{"state in another case", string(beat(entry(map[string]string{"state": `"Running"`})))},
		{"cc_partition a number", string(beat(entry(map[string]string{`"cc_partition"`: "7"})))},
		{"cc_partition an object", string(beat(entry(map[string]string{`"cc_partition"`: `{"name":["default"]}`})))},
		{"cc_partition null", string(beat(entry(map[string]string{`"cc_partition"`: "null"})))},
		{"greatest depth allowed", `{"x":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `,"droplets":[` + entry(nil) + `],"dea":"dea-1"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(mustDecode(t, []byte(c.data))); !reflect.DeepEqual(got, plain) {
				t.Errorf("gives %+v, want %+v", got, plain)
			}
		})
	}
}

// The state_timestamp is only shown. An entry is an instance with any value of it.
func TestStateTimestampCostsNothing(t *testing.T) {
	for _, text := range []string{"", "null", `"1404260398"`, `"NaN"`, "true", "{}", "[1404260398]", `""`} {
		hb := mustDecode(t, beat(entry(map[string]string{"state_timestamp": text}), entry(map[string]string{"instance": `"` + i2 + `"`})))
		if len(hb.Instances) != 2 || hb.Instances[0].Since != 0 || hb.Instances[1].Since == 0 || hb.Untimed != 1 || hb.HasUnreadable() {
			t.Errorf("%s gives %+v", text, hb)
		}
	}
}

// An entry with an app, an index and an instance guid is an instance, whatever its state.
func TestStatesOfEveryKind(t *testing.T) {
	for text, want := range map[string]actual.State{
		`"RUNNING"`: actual.Running, `"running"`: actual.Running, `"Starting"`: actual.Starting, `"crashed"`: actual.Crashed, `"EVACUATING"`: actual.Evacuating,
		`"STOPPING"`: actual.Stopping, `"STOPPED"`: actual.Stopping, `"Stopped"`: actual.Stopping, `"DELETED"`: actual.Stopping,
		`"BORN"`: actual.Unknown, `"RESUMING"`: actual.Unknown, `"PAUSED"`: actual.Unknown, `"RUNNING "`: actual.Unknown, `"UNKNOWN"`: actual.Unknown,
		`""`: actual.Unknown, `1`: actual.Unknown, `null`: actual.Unknown, `{"RUNNING":1}`: actual.Unknown, `["RUNNING"]`: actual.Unknown, ``: actual.Unknown,
		`"` + strings.Repeat("X", 10_000) + `"`: actual.Unknown,
	} {
		hb := mustDecode(t, beat(entry(map[string]string{"state": text})))
		unknown := 0
		if want == actual.Unknown {
			unknown = 1
		}
		if len(hb.Instances) != 1 || hb.Instances[0].State != want || hb.Rejected != 0 || hb.UnknownStates != unknown || hb.HasUnreadable() != (unknown > 0) {
			t.Errorf("%.40s gives %+v", text, hb)
		}
		if (hb.Why == "") != (unknown == 0) || len(hb.Why) > 200 {
			t.Errorf("%.40s is explained by %q", text, hb.Why)
		}
	}
	if hb := mustDecode(t, beat(entry(map[string]string{"state": `"RESUMING"`}))); !strings.Contains(hb.Why, "RESUMING") {
		t.Errorf("why: %q", hb.Why)
	}
}

// An entry that names an app, but has no index or no instance guid, may be an instance of the app.
func TestEntriesWithoutAPlace(t *testing.T) {
	key := app.Key{Droplet: app.MustGUID(d1), Version: app.MustGUID(v1)}
	of := func(guid string) []actual.Unplaced {
		u := actual.Unplaced{App: key}
		if guid != "" {
			u.GUID = app.MustGUID(guid)
		}
		return []actual.Unplaced{u}
	}
	for name, c := range map[string]struct {
		change map[string]string
		want   []actual.Unplaced
		named  int
	}{
		"index as text":              {map[string]string{"index": `"0"`}, of(i1), 1},
		"index null":                 {map[string]string{"index": `null`}, of(i1), 1},
		"index out of range":         {map[string]string{"index": `70000`}, of(i1), 1},
		"index and state unreadable": {map[string]string{"index": ``, "state": `7`}, of(i1), 1},
		"evacuating":                 {map[string]string{"index": `[]`, "state": `"EVACUATING"`}, of(i1), 1},
		"the instance, given twice":  {map[string]string{`"instance"`: `7`}, of(""), 0},
		"index and instance":         {map[string]string{"index": ``, "instance": ``}, of(""), 0},
		"instance":                   {map[string]string{"instance": `{}`}, of(""), 0},
		"crashed":                    {map[string]string{"index": `"0"`, "state": `"CRASHED"`}, nil, 1},
		"stopping":                   {map[string]string{"index": `"0"`, "state": `"STOPPING"`}, nil, 1},
		"droplet":                    {map[string]string{"droplet": `7`}, nil, 1},
		"version":                    {map[string]string{"version": ``, "index": ``}, nil, 1},
		"nothing":                    {map[string]string{"droplet": ``, "instance": ``}, nil, 0},
	} {
		hb := mustDecode(t, beat(entry(c.change)))
		if len(hb.Instances) != 0 || hb.Rejected != 1 || !reflect.DeepEqual(hb.Unplaced, c.want) || len(hb.Unreadable) != c.named {
			t.Errorf("%s gives %+v", name, hb)
		}
	}
}

// If the entries of one instance differ, a live one counts, and the instance is in Contradicted.
func TestContradiction(t *testing.T) {
	state := func(word string) string { return entry(map[string]string{"state": `"` + word + `"`}) }
	elsewhere := entry(map[string]string{"index": "4"})
	for name, c := range map[string]struct {
		list         []string
		index        uint32
		state        actual.State
		contradicted bool
	}{
		"live first":        {[]string{state("RUNNING"), state("CRASHED")}, 0, actual.Running, true},
		"live last":         {[]string{state("CRASHED"), state("STARTING")}, 0, actual.Starting, true},
		"live between":      {[]string{state("CRASHED"), state("RUNNING"), state("EVACUATING")}, 0, actual.Running, true},
		"both live":         {[]string{state("STARTING"), state("RUNNING")}, 0, actual.Running, true},
		"none live":         {[]string{state("CRASHED"), state("EVACUATING")}, 0, actual.Evacuating, true},
		"in two places":     {[]string{state("RUNNING"), elsewhere}, 4, actual.Running, true},
		"unknown and live":  {[]string{state("RUNNING"), state("ODD")}, 0, actual.Running, true},
		"the same":          {[]string{state("RUNNING"), state("RUNNING")}, 0, actual.Running, false},
		"another timestamp": {[]string{state("RUNNING"), entry(map[string]string{"state_timestamp": "7"})}, 0, actual.Running, false},
	} {
		hb := mustDecode(t, beat(c.list...))
		if len(hb.Instances) != 1 || hb.Instances[0].State != c.state || hb.Instances[0].Index != c.index || hb.Rejected != len(c.list)-1 ||
			(len(hb.Contradicted) > 0) != c.contradicted || hb.UnknownStates != 0 || hb.Why == "" {
			t.Errorf("%s gives %+v", name, hb)
		}
	}
}

func TestEmptyListIsAHeartbeat(t *testing.T) { // N01
	hb := mustDecode(t, beat())
	if hb.DEA != "dea-1" || len(hb.Instances) != 0 || hb.Rejected != 0 {
		t.Errorf("gives %+v", hb)
	}
}

func TestStateTimestamp(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "null": 0, "0": 0, "-0": 0, "-5": 0, "-1e300": 0, "1": 1000, "1.5": 1500, "1.05": 1050, "1.0009": 1000, "0.001": 1,
		"1404260398": 1404260398000, "1404260398.123": 1404260398123, "1404260398.9999999999999": 1404260398999,
		"253402300799.999": maxMillis, "253402300800": maxMillis, "99999999999": 99999999999000, "999999999999": maxMillis,
		"1e300": maxMillis, "1e999": maxMillis, "123456789012345678901234567890": maxMillis, "1e-400": 0, "15e-1": 1500, "1E2": 100_000,
	} {
		hb := mustDecode(t, beat(entry(map[string]string{"state_timestamp": text})))
		if len(hb.Instances) != 1 || hb.Instances[0].Since != want {
			t.Errorf("%q gives %+v, want %d", text, show(hb), want)
		}
	}
}

func TestInstanceListedTwice(t *testing.T) {
	other := entry(map[string]string{"instance": `"` + i2 + `"`, "index": "5"})
	for _, data := range [][]byte{
		beat(entry(nil), other, entry(map[string]string{"index": "7"})),
		beat(entry(nil), other, entry(map[string]string{"index": "6"}), entry(map[string]string{"index": "7"}), `{}`),
	} {
		hb := mustDecode(t, data)
		if len(hb.Instances) != 2 || hb.Instances[0].Index != 7 || hb.Instances[1].Index != 5 || hb.Rejected == 0 {
			t.Errorf("gives %+v, want the last entry at the position of the first", show(hb))
		}
	}
	// Guids of every form, each several times.
	var list []string
	for n := range 3000 {
		list = append(list, entry(map[string]string{"instance": fmt.Sprintf(`"%[2]*[1]x"`, n%1000, []int{32, 8, 1}[n%1000%3]), "index": fmt.Sprint(n / 1000)}))
	}
	hb := mustDecode(t, []byte(strings.ReplaceAll(string(beat(list...)), " ", "0")))
	if len(hb.Instances) != 1000 || hb.Rejected != 2000 {
		t.Fatalf("%d instances, %d rejected", len(hb.Instances), hb.Rejected)
	}
	for _, in := range hb.Instances {
		if in.Index != 2 {
			t.Fatalf("instance %s: entry %d counts instead of the last one", in.GUID, in.Index)
		}
	}
}

// A guid is the same whether hm reads it eight digits at a time or one by one, with any byte at any position.
func TestGUIDWithEveryByte(t *testing.T) {
	for _, good := range []string{d1, i1, i2, v1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "99999999999999999999999999999999"} {
		for at := range good {
			for c := range 256 {
				text := []byte(good)
				text[at] = byte(c)
				if c == '"' || c == '\\' {
					continue
				}
				s := scanner{data: append(append([]byte{'"'}, text...), `"    `...)}
				var g app.GUID
				ok := s.guid(&g)
				if want, err := app.ParseGUIDBytes(text); ok != (err == nil) || ok && g != want {
					t.Fatalf("%q is read as %v, %v, want %v, %v", text, g, ok, want, err)
				}
			}
		}
	}
}

func TestDecodingKeepsNothingOfTheMessage(t *testing.T) {
	data := beat(entry(map[string]string{"droplet": `"odd-droplet"`}))
	hb := mustDecode(t, data)
	before := show(hb)
	clear(data)
	if got := show(hb); !reflect.DeepEqual(got, before) {
		t.Errorf("after the message was overwritten the heartbeat reads %+v, was %+v", got, before)
	}
}

func TestDecodingAllocatesPerMessageOnly(t *testing.T) {
	data := dea(3, 500)
	if n := testing.AllocsPerRun(20, func() { mustDecode(t, data) }); n > 4 {
		t.Errorf("%v allocations for 500 instances", n)
	}
}

func mustDecode(t testing.TB, data []byte) actual.Heartbeat {
	t.Helper()
	hb, err := DecodeHeartbeat(data)
	if err != nil {
		t.Fatalf("%.300s: %v", data, err)
	}
	return hb
}

// scanHeartbeat calls only the fast decoder.
func scanHeartbeat(data []byte) (hb actual.Heartbeat, ok bool) {
	s := scanner{data: data}
	return s.heartbeat()
}

// A DEA recognises a guid only in its own letter case, so the letter case is kept.
func TestLetterCasesOfAHeartbeat(t *testing.T) {
	upper := strings.ToUpper(d1)
	for name, text := range map[string]string{
		"fast": `{"dea":"a","droplets":[{"droplet":"` + upper + `","version":"v","instance":"ABCDEF0123456789abcdef0123456789","index":0,"state":"RUNNING"}]}`,
		"full": `{"dea":"a","x":[{}],"droplets":[null,{"droplet":"` + upper + `","version":"v","instance":"\u0041BCDEF0123456789abcdef0123456789","index":0,"state":"RUNNING"}]}`,
	} {
		hb, err := DecodeHeartbeat([]byte(text))
		if err != nil || len(hb.Instances) != 1 {
			t.Fatalf("%s: %+v, %v", name, hb, err)
		}
		in := hb.Instances[0]
		if in.App.Droplet != app.MustGUID(d1) || hb.LetterCases[in.App.Droplet].Spell(in.App.Droplet) != upper {
			t.Errorf("%s: the droplet is %s, spelled %v", name, in.App.Droplet, hb.LetterCases)
		}
		if got := hb.LetterCases[in.GUID].Spell(in.GUID); got != "ABCDEF0123456789abcdef0123456789" || len(hb.LetterCases) != 2 {
			t.Errorf("%s: the instance is spelled %s, of %v", name, got, hb.LetterCases)
		}
	}
	if hb, err := DecodeHeartbeat(beat(entry(nil))); err != nil || hb.LetterCases != nil {
		t.Errorf("small letters: %+v, %v", hb, err)
	}
}
