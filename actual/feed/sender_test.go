package feed

import (
	"log/slog"
	"strings"
	"testing"

	"hm/actual"
	"hm/internal/sampled"
)

// The sender of a bad message is the value of "dea" where DEAs write it, and nothing else.
func TestSenderOfABadMessage(t *testing.T) {
	long := strings.Repeat("x", actual.MaxDEALen)
	for _, c := range []struct{ name, data, want string }{
		{"last", `{"droplets":[{"index":NaN}],"dea":"dea-1"}`, "dea-1"},
		{"first", `{"dea":"dea-1","droplets":[{"index":NaN}]}`, "dea-1"},
		{"spaces", " { \"dea\" :\n\"dea-1\" , \"droplets\":[Infinity]}", "dea-1"},
		{"spaces, last", "{\"droplets\":[Infinity] ,\n \"dea\" : \"dea-1\" } \n", "dea-1"},
		{"first, cut off", `{"dea":"dea-1","droplets":[{"drop`, "dea-1"},
		{"first and last are equal", `{"dea":"dea-1","droplets":[NaN],"dea":"dea-1"}`, "dea-1"},
		{"too large", `{"droplets":[` + strings.Repeat("1,", MaxHeartbeat/2) + `1],"dea":"dea-1"}`, "dea-1"},
		{"too deep", `{"droplets":[` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `],"dea":"dea-1"}`, "dea-1"},
		{"no droplets", `{"dea":"dea-1"}`, "dea-1"},
		{"droplets of another type, in the middle", `{"a":1,"dea":"dea-1","droplets":{}}`, "dea-1"},
		{"droplets of another type, before", `{"droplets":"none","dea":"dea-1"}`, "dea-1"},
		{"as long as allowed", `{"droplets":[NaN],"dea":"` + long + `"}`, long},
		{"empty", ``, ""},
		{"last, cut off", `{"droplets":[NaN],"dea":"dea-1"`, ""},
		{"first, cut off in the value", `{"dea":"dea-1`, ""},
		{"first, cut off after the value", `{"dea":"dea-1"`, ""},
		{"first and last differ", `{"dea":"dea-1","droplets":[NaN],"dea":"dea-2"}`, ""},
		{"in an entry at the end", `{"droplets":[NaN,{"droplet":"x","dea":"dea-1"}`, ""},
		{"in the middle, not JSON", `{"a":1,"dea":"dea-1","droplets":[NaN]}`, ""},
		{"not a string", `{"dea":7,"droplets":[NaN]}`, ""},
		{"escaped", `{"dea":"dea\u002d1","droplets":[NaN]}`, ""},
		{"a control character", "{\"dea\":\"dea\x01\",\"droplets\":[NaN]}", ""},
		{"empty id", `{"dea":"","droplets":[NaN]}`, ""},
		{"too long", `{"dea":"` + long + `x","droplets":[NaN]}`, ""},
		{"a similar name", `{"dea_id":"dea-1","droplets":[NaN]}`, ""},
		{"another member after it", `{"droplets":[NaN],"dea":"dea-1","x":"dea-2"}`, ""},
		{"not an object", `["dea","dea-1"]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := DecodeHeartbeat([]byte(c.data)); err == nil {
				t.Fatal("DecodeHeartbeat accepts it")
			}
			if got := Sender([]byte(c.data)); got != c.want {
				t.Errorf("the sender is %q, want %q", got, c.want)
			}
		})
	}
}

// A Feed counts unreadable entries by kind, and logs one line with an unknown state.
func TestFeedCountsUnreadableEntries(t *testing.T) {
	log, sink := &logBuffer{}, &recordingSink{newest: map[Digest]bool{}}
	f := &Feed{sink: sink, digest: NewDigester(), log: sampled.New(slog.New(slog.NewTextHandler(log, nil)), logEvery, 1)}
	f.onHeartbeat(beat(entry(map[string]string{"state": `"RESUMING"`}), entry(map[string]string{"instance": `"` + i2 + `"`, "index": `"0"`}), `{}`, `{}`))
	f.onHeartbeat(beat(entry(map[string]string{"state": `"STOPPING"`, "state_timestamp": "null"})))
	f.onHeartbeat([]byte(`{"dea":"dea-1"}`))
	if c := f.Stats().Heartbeats; c.Rejected != 3 || c.Unplaced != 1 || c.UnknownStates != 1 || c.Decoded != 2 || c.Malformed != 1 {
		t.Errorf("counted %+v", c)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "RESUMING") || !strings.Contains(text, "dea=dea-1") {
		t.Errorf("logged %s", text)
	}
	if len(sink.heartbeats) != 2 || sink.garbled["dea-1: message is malformed"] != 1 {
		t.Errorf("the sink has %d heartbeats and %v", len(sink.heartbeats), sink.garbled)
	}
}
