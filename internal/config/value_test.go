package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSetTakesWhatFilesGive(t *testing.T) {
	for _, c := range []struct {
		key  string
		in   any
		want any // nil: refused
	}{
		{"node.id", "a", "a"},
		{"node.id", 7, nil},
		{"node.id", nil, nil},
		{"node.id", map[string]any{"a": 1}, nil},
		{"nats.servers", []any{"a", "b"}, []string{"a", "b"}},
		{"nats.servers", []any{"a", 1}, nil},
		{"nats.servers", "a", nil},
		{"policy.grace", 3, 3},
		{"policy.grace", int64(3), 3},
		{"policy.grace", uint64(3), 3},
		{"policy.grace", float64(3), 3},
		{"policy.grace", 3.5, nil},
		{"policy.grace", 1e300, nil},
		{"policy.grace", "3", nil},
		{"policy.grace", true, nil},
		{"guard.mass_loss", 0.25, 0.25},
		{"guard.mass_loss", 1, 1.0},
		{"guard.mass_loss", "0.25", nil},
		{"policy.heartbeat_period", "10s", 10 * time.Second},
		{"policy.heartbeat_period", 10, nil},
		{"policy.heartbeat_period", "10", nil},
		{"policy.heartbeat_period", "ten seconds", nil},
		{"nats.password", 12345, nil},
	} {
		cfg := Default()
		k, _ := KeyNamed(c.key)
		p := k.Set(&cfg, c.in)
		if c.want == nil {
			if p == nil || p.Key != c.key || p.Want == "" || strings.Contains(p.Value, "12345") {
				t.Errorf("%s = %#v: %v, want a problem of that key without its secret", c.key, c.in, p)
			}
			if !k.IsDefault(&cfg) {
				t.Errorf("%s = %#v was refused, but changed the value", c.key, c.in)
			}
			continue
		}
		if p != nil || !reflect.DeepEqual(k.Get(&cfg), c.want) {
			t.Errorf("%s = %#v gives %#v, %v", c.key, c.in, k.Get(&cfg), p)
		}
	}
}

func TestSetTextRefuses(t *testing.T) {
	for _, c := range []string{"policy.grace=three", "policy.grace=3.0", "policy.grace=", "guard.mass_loss=half", "policy.heartbeat_period=10", "policy.heartbeat_period="} {
		cfg := Default()
		name, text, _ := strings.Cut(c, "=")
		k, _ := KeyNamed(name)
		if p := k.SetText(&cfg, text); p == nil || p.Key != name {
			t.Errorf("%s is accepted: %v", c, p)
		}
	}
}

func TestTextIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(keys).Draw(t, "key")
		a, b := Default(), Default()
		switch p := k.field(&a).(type) {
		case *string:
			if k.Secret {
				return
			}
			*p = rapid.StringMatching(`[a-z0-9.:/-]{0,20}`).Draw(t, "text")
		case *[]string:
			*p = rapid.SliceOfN(rapid.StringMatching(`[a-z0-9.:/-]{1,20}`), 1, 4).Draw(t, "list")
		case *bool:
			*p = rapid.Bool().Draw(t, "switch")
		case *int:
			*p = rapid.Int().Draw(t, "number")
		case *float64:
			*p = rapid.Float64().Draw(t, "share")
		case *time.Duration:
			*p = time.Duration(rapid.Int64().Draw(t, "duration"))
		}
		if p := k.SetText(&b, k.Text(&a)); p != nil || !equal(k.Get(&a), k.Get(&b)) {
			t.Fatalf("%s: %v is read back as %v: %v", k.Name, k.Get(&a), k.Get(&b), p)
		}
	})
}

func TestSecretsAreMasked(t *testing.T) {
	c := Default()
	for _, k := range keys {
		if p, ok := k.field(&c).(*string); ok && k.Secret {
			*p = "hunter2"
		}
	}
	c.NATS.Servers = []string{"nats://bob:hunter2@a:4222", "nats://hunter2@b", "bob:hunter2@c:4222", "nats://x:hunter2@@d"}
	c.Desired.Bulk.URL = "http://bob:hunter2@cc"
	m := c.Masked()
	for _, k := range keys {
		for _, shown := range []string{k.Text(&c), k.Text(&m), k.show(k.Get(&m))} {
			if strings.Contains(shown, "hunter2") {
				t.Errorf("%s shows a secret: %s", k.Name, shown)
			}
		}
	}
	if c.API.Password != "hunter2" || c.NATS.Servers[0] != "nats://bob:hunter2@a:4222" {
		t.Error("masking changed the original")
	}
	if m.NATS.Servers[0] != "nats://bob:********@a:4222" {
		t.Errorf("masked to %s", m.NATS.Servers[0])
	}
	if d := Default(); !reflect.DeepEqual(d.Masked(), d) {
		t.Error("masking changes what has no secret")
	}
	if s := c.Validate().Error(); strings.Contains(s, "hunter2") {
		t.Errorf("a secret is shown: %s", s)
	}
}

func TestUnknown(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"nats.server", "did you mean nats.servers?"},
		{"natz.servers", "did you mean nats.servers?"},
		{"policy.heartbeat_tll", "did you mean policy.heartbeat_ttl?"},
		{"nats.ping_intreval", "did you mean nats.ping_interval?"},
		{"servers", "did you mean nats.servers?"},
		{"start_limit", "did you mean policy.start_limit?"},
		{"nats", "its keys are nats.servers"},
		{"nats.tls", "its keys are nats.tls.ca"},
		{"node.id.a", "did you mean node.id?"},
		{"Nats", "keys are in lower case"},
		{"nats.Servers", "keys are in lower case"},
		{"zzz", "there is no such key"},
		{strings.Repeat("x", 10_000), "there is no such key"},
	} {
		p := Unknown(c.name)
		if p.Key != c.name || !strings.HasSuffix(p.Want, c.want) && !strings.Contains(p.Want, c.want+",") {
			t.Errorf("%.20s: %q, want %q", c.name, p.Want, c.want)
		}
		if c.want == "there is no such key" && strings.Contains(p.Want, "mean") {
			t.Errorf("%.20s: %q is a guess too far", c.name, p.Want)
		}
	}
}

func TestUnknownEnv(t *testing.T) {
	for _, c := range []struct{ name, want string }{ // want empty: not hm's business
		{"HM_NATS_SERVERS", ""}, {"HM_NODE_ID", ""},
		{"HM_NATS_SERVER", "HM_NATS_SERVERS"}, {"HM_NAT_SERVERS", "HM_NATS_SERVERS"}, {"HM_POLICY_GARCE", "HM_POLICY_GRACE"},
		{"HM_RAFT_NONSENSE", "no key"},
		{"HM_ADDR", ""}, {"HM_TEST_REQUIRE", ""}, {"HM_USERNAME", ""}, {"HM_PASSWORD", ""}, {"HM_HOME", ""}, {"PATH", ""}, {"HM_", ""},
		{"HM_API_SERVICE_HOST", ""}, {"HM_API_SERVICE_PORT", ""}, {"HM_API_SERVICE_PORT_HTTP", ""}, {"HM_API_PORT", ""},
		{"HM_NATS_PORT_4222_TCP", ""}, {"HM_NATS_PORT_4222_TCP_ADDR", ""},
	} {
		p, unknown := UnknownEnv(c.name)
		if unknown != (c.want != "") || !strings.Contains(p.Want, c.want) {
			t.Errorf("%s: %v %v, want %q", c.name, unknown, p, c.want)
		}
	}
}
