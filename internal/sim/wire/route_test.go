package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const realRegister = `{"dea":"0-5a3c","app":"8f9ef5d9","uris":["One.example.com","two.example.com"],"host":"10.0.16.4","port":61004,"tags":{},"private_instance_id":"28d0b4"}`

func TestParseRoute(t *testing.T) {
	r, err := ParseRoute([]byte(realRegister))
	if err != nil || r.Port != 61004 || r.URIs[0] != "one.example.com" || r.Instance != "28d0b4" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{
		``, `[]`, `{"host":"","port":1,"uris":["a"]}`, `{"host":"a b","port":1,"uris":["a"]}`, `{"host":"a","uris":["a"]}`,
		`{"host":"a","port":70000,"uris":["a"]}`, `{"host":"a","port":1}`, `{"host":"a","port":1,"uris":[""]}`,
		`{"host":"a","port":1,"uris":["a"],"stale_threshold_in_seconds":-1}`,
		`{"host":"a","port":1,"uris":["` + strings.Repeat("a", 254) + `"]}`,
		`{"host":"a","port":1,"uris":["a"],"tags":{"x":"` + strings.Repeat("y", MaxRouteMessage) + `"}}`,
	} {
		if r, err := ParseRoute([]byte(bad)); err == nil {
			t.Errorf("%.80s is read as %+v", bad, r)
		}
	}
}

func TestParseRouterStart(t *testing.T) {
	every, err := ParseRouterStart([]byte(`{"id":"x","hosts":["1.2.3.4"],"minimumRegisterIntervalInSeconds":20,"pruneThresholdInSeconds":120}`))
	if err != nil || every != 20*time.Second {
		t.Errorf("%s, %v", every, err)
	}
	for _, bad := range []string{``, `{}`, `{"minimumRegisterIntervalInSeconds":0}`, `{"minimumRegisterIntervalInSeconds":-1}`,
		`{"minimumRegisterIntervalInSeconds":1e9}`, `{"minimumRegisterIntervalInSeconds":"20"}`} {
		if every, err := ParseRouterStart([]byte(bad)); err == nil {
			t.Errorf("%s is read as %s", bad, every)
		}
	}
}

// FuzzParseRoute: what is read keeps the limits, and is read again from its own encoding.
func FuzzParseRoute(f *testing.F) {
	f.Add([]byte(realRegister))
	f.Add([]byte(`{"host":"a","port":1,"uris":["\u0130","x"],"stale_threshold_in_seconds":120}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseRouterStart(data)
		r, err := ParseRoute(data)
		if err != nil {
			return
		}
		if r.Port == 0 || r.Host == "" || len(r.URIs) == 0 || len(r.URIs) > MaxRouteURIs {
			t.Fatalf("%q is read as %+v", data, r)
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(first) > MaxRouteMessage {
			return // escaped text is longer
		}
		again, err := ParseRoute(first)
		if err != nil {
			t.Fatalf("%q is read, its encoding %q is not: %v", data, first, err)
		}
		if second := MustJSON(again); !bytes.Equal(first, second) {
			t.Fatalf("%q becomes %q and then %q", data, first, second)
		}
	})
}
