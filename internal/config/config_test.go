package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/diff"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldHasExactlyOneKey(t *testing.T) {
	var c Config
	fields := map[uintptr]string{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		}
		fields[v.Addr().Pointer()] = path
	}
	walk(reflect.ValueOf(&c).Elem(), "Config")
	names := map[string]bool{}
	for _, k := range Keys() {
		p := reflect.ValueOf(k.field(&c)).Pointer()
		path, ok := fields[p]
		if !ok {
			t.Errorf("%s leads to a field that another key has, or to none", k.Name)
		}
		delete(fields, p)
		if got := strings.NewReplacer("_", "", ".", "").Replace(k.Name); !strings.EqualFold("Config."+got, "Config."+strings.ReplaceAll(strings.TrimPrefix(path, "Config."), ".", "")) {
			t.Errorf("%s leads to %s", k.Name, path)
		}
		if names[k.Name] || k.Doc == "" || !strings.HasSuffix(k.Doc, ".") || k.limit.ok == nil || strings.ToLower(k.Name) != k.Name {
			t.Errorf("%s: twice, or incomplete", k.Name)
		}
		names[k.Name] = true
	}
	for _, path := range fields {
		t.Errorf("%s has no key", path)
	}
}

func TestDocsAreCurrent(t *testing.T) {
	const file = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(file, Markdown(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Markdown()) {
		t.Errorf("%s is not what the table of keys gives: run go test ./internal/config -update", file)
	}
}

func TestHeartbeatsBecomeDurations(t *testing.T) {
	c := Default()
	c.Policy.HeartbeatPeriod = 100 * time.Millisecond
	c.Policy.HeartbeatTTL, c.Policy.Freshness = 4, 5
	want := diff.Policy{
		HeartbeatPeriod: 100 * time.Millisecond, Grace: 300 * time.Millisecond, CrashesBeforeBackoff: 3,
		BackoffStart: 300 * time.Millisecond, BackoffMax: 9600 * time.Millisecond, DuplicateGrace: 4,
		StopYield: 1800 * time.Millisecond, StartingTTL: 3 * time.Second,
	}
	if got := c.DiffPolicy(); got != want {
		t.Errorf("policy %+v, want %+v", got, want)
	}
	for _, d := range []struct {
		name      string
		got, want time.Duration
	}{
		{"HeartbeatTTL", c.HeartbeatTTL(), 400 * time.Millisecond},
		{"Freshness", c.Freshness(), 500 * time.Millisecond},
		{"Grace", c.Grace(), 300 * time.Millisecond},
		{"PollInterval", c.PollInterval(), 600 * time.Millisecond},
		{"DesiredTTL", c.DesiredTTL(), 1200 * time.Millisecond},
		{"MassLossHold", c.MassLossHold(), 3 * time.Second},
	} {
		if d.got != d.want {
			t.Errorf("%s = %s, want %s", d.name, d.got, d.want)
		}
	}
}

// TestShortTimesFitTogether: the times that the policy does not scale must not outlast those that it does. What is left
// at its default shrinks with them.
func TestShortTimesFitTogether(t *testing.T) {
	for _, c := range []struct {
		set                  string
		lease, publish, ping time.Duration
	}{
		{"", 2 * time.Second, 2 * time.Second, 2 * time.Second},
		{"policy.heartbeat_period=1s", 1500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"policy.heartbeat_period=100ms", 150 * time.Millisecond, 150 * time.Millisecond, time.Second},
		{"policy.heartbeat_period=10ms policy.grace=1", 5 * time.Millisecond, 5 * time.Millisecond, time.Second},
		{"policy.freshness=1 policy.heartbeat_period=2s", 2 * time.Second, 2 * time.Second, time.Second},
		{"commands.claim_lease=500ms", 500 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second},
		{"commands.claim_lease=15s nats.ping_interval=15s", 15 * time.Second, 2 * time.Second, 15 * time.Second},
		{"commands.claim_lease=150ms nats.ping_interval=250ms policy.heartbeat_period=100ms", 150 * time.Millisecond, 150 * time.Millisecond, 250 * time.Millisecond},
	} {
		cfg := set(t, strings.Fields(c.set)...)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", c.set, err)
		}
		if lease, publish, ping := cfg.ClaimLease(), cfg.PublishTimeout(), cfg.PingInterval(); lease != c.lease || publish != c.publish || ping != c.ping {
			t.Errorf("%s: lease %v, publish %v, ping %v, want %v, %v, %v", c.set, lease, publish, ping, c.lease, c.publish, c.ping)
		}
		if cfg.ClaimLease()+cfg.PublishTimeout() > cfg.Grace() {
			t.Errorf("%s: a command may be published when its claim counts as lost already", c.set)
		}
	}
}

func TestNoLimitOverflowsADuration(t *testing.T) {
	c := Default()
	c.Policy.HeartbeatPeriod, c.Policy.Grace, c.Policy.DuplicateGrace, c.Policy.BackoffMax = maxPeriod, maxBeats, 100, maxBeats
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	p := c.DiffPolicy()
	if d := p.Grace * time.Duration(p.DuplicateGrace); d <= p.Grace || d/p.Grace != 100 {
		t.Errorf("grace times duplicate grace overflows: %s", d)
	}
	if p.CrashMemory() <= p.BackoffMax {
		t.Errorf("crash memory overflows: %s", p.CrashMemory())
	}
}

// set makes a configuration from the default and "key=value" texts.
func set(t *testing.T, texts ...string) Config {
	t.Helper()
	c := Default()
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		k, ok := KeyNamed(name)
		if !ok {
			t.Fatalf("no key %s", name)
		}
		if p := k.SetText(&c, value); p != nil {
			t.Fatal(p)
		}
	}
	return c
}

func TestValidateRefuses(t *testing.T) {
	const three = "raft.insecure=true raft.peers=hm-0=127.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140"
	const far = "raft.peers=hm-0=10.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140"
	for _, c := range []struct {
		set  string // texts for set, separated by spaces
		key  string
		want string // part of the problem
	}{
		{"node.id=", "node.id", "letters"},
		{"node.id=a=b", "node.id", "letters"},
		{"node.id=..", "node.id", "letters"},
		{"node.data_dir=", "node.data_dir", "a directory"},
		{"raft.listen=7140", "raft.listen", "host:port"},
		{"raft.listen=127.0.0.1:70000", "raft.listen", "host:port"},
		{"raft.listen=127.0.0.1:0", "raft.listen", "fixed port"},
		{"raft.listen=0.0.0.0:7140", "raft.listen", "wildcard"},
		{"raft.listen=:7140", "raft.listen", "wildcard"},
		{"raft.listen=[::]:7140", "raft.listen", "wildcard"},
		{"raft.advertise=0.0.0.0:7140", "raft.advertise", "other nodes"},
		{"raft.advertise=10.0.0.1:0", "raft.advertise", "other nodes"},
		{"raft.peers=10.0.0.1:7140", "raft.peers", "id=host:port"},
		{"raft.peers=hm-0=127.0.0.1:7140,hm-1=10.0.0.2:7140", "raft.peers", "1, 3 or 5 nodes, not 2"},
		{"raft.peers=hm-0=127.0.0.1:7140,b=b:1,c=c:1,d=d:1", "raft.peers", "not 4"},
		{"raft.peers=hm-0=127.0.0.1:7140,b=b:1,c=c:1,d=d:1,e=e:1,f=f:1,g=g:1", "raft.peers", "not 7"},
		{"raft.peers=hm-0=127.0.0.1:7140,hm-0=10.0.0.2:7140,hm-2=10.0.0.3:7140", "raft.peers", "twice"},
		{"raft.peers=hm-0=127.0.0.1:7140,hm-1=127.0.0.1:7140,hm-2=10.0.0.3:7140", "raft.peers", "twice"},
		{"raft.peers=hm-0=0.0.0.0:7140", "raft.peers", "id=host:port"},
		{three + " node.id=hm-9", "raft.peers", "hm-9"},
		{three + " raft.listen=127.0.0.1:7141", "raft.listen", "127.0.0.1:7140"},
		{three + " raft.listen=127.0.0.1:0", "raft.listen", "fixed port"},
		{three + " raft.listen=0.0.0.0:7140", "raft.listen", "raft.advertise set to 127.0.0.1:7140"},
		{three + " raft.advertise=10.0.0.9:7140", "raft.advertise", "127.0.0.1:7140"},
		{far + " raft.listen=10.0.0.1:7140", "raft.listen", "raft.insecure: true"},
		{far + " raft.listen=10.0.0.1:7140", "raft.listen", "raft.tls.cert, raft.tls.key and raft.tls.ca"},
		{far + " raft.listen=10.0.0.1:7140 raft.insecure=false", "raft.listen", "raft.tls.cert"},
		{far + " raft.listen=127.0.0.1:7140 raft.advertise=10.0.0.1:7140", "raft.advertise", "raft.tls.cert"},
		{strings.TrimPrefix(three, "raft.insecure=true "), "raft.peers", "raft.tls.cert"},
		{"raft.listen=10.0.0.1:7140", "raft.listen", "raft.tls.cert"},
		{"raft.tls.cert=c", "raft.tls.key", "all three"},
		{"raft.tls.cert=c raft.tls.key=k", "raft.tls.ca", "all three"},
		{"raft.tls.ca=c", "raft.tls.cert", "all three"},
		{"raft.heartbeat_timeout=7ms", "raft.heartbeat_timeout", "from 10ms to 1m"},
		{"raft.heartbeat_timeout=600ms", "raft.election_timeout", "heartbeat_timeout (600ms)"},
		{"raft.lease_timeout=501ms", "raft.lease_timeout", "heartbeat_timeout (500ms)"},
		{"raft.snapshot_interval=0s", "raft.snapshot_interval", "10ms"},
		{"raft.snapshot_threshold=0", "raft.snapshot_threshold", "whole number"},
		{"api.listen=", "api.listen", "host:port"},
		{"api.listen=0.0.0.0:5155", "api.listen", "authentication"},
		{"api.listen=:5155", "api.listen", "authentication"},
		{"api.listen=0.0.0.0:5155 api.username=u api.password=p api.pprof=true", "api.pprof", "loopback"},
		{"api.listen=hm.internal:5155", "api.listen", "authentication"},
		{"api.listen=10.0.0.1:5155 api.username=u", "api.listen", "authentication"},
		{"api.username=u", "api.password", "api.username is set"},
		{"api.password=p", "api.username", "api.password is set"},
		{"api.username=a:b api.password=p", "api.username", "':'"},
		{"api.tls.cert=c", "api.tls.key", "api.tls.cert is set"},
		{"api.tls.key=c", "api.tls.cert", "api.tls.key is set"},
		{"api.tls.client_ca=c", "api.tls.cert", "HTTPS"},
		{"nats.servers=", "nats.servers", "one or more"},
		{"nats.servers=http://a:1", "nats.servers", "NATS addresses"},
		{"nats.servers=ws://a:80", "nats.servers", "NATS addresses"},
		{"nats.servers=nats://a:1/x", "nats.servers", "NATS addresses"},
		{"nats.servers=nats://a:0", "nats.servers", "NATS addresses"},
		{"nats.servers=nats://a:1,,nats://b:1", "nats.servers", "NATS addresses"},
		{"nats.username=u", "nats.password", "nats.username is set"},
		{"nats.token=t nats.creds=c", "nats.creds", "one way"},
		{"nats.username=u nats.password=p nats.token=t", "nats.token", "one way"},
		{"nats.servers=nats://u:p@a:1 nats.token=t", "nats.servers", "one way"},
		{"nats.tls.cert=c", "nats.tls.key", "needs its key"},
		{"nats.ping_interval=1ns", "nats.ping_interval", "10ms"},
		{"desired.source=ldap", "desired.source", "one of bulk, sql"},
		{"desired.source=sql", "desired.sql.dsn", "since desired.source is sql"},
		{"desired.poll_interval=0", "desired.poll_interval", "from 1"},
		{"desired.ttl=6", "desired.ttl", "more than desired.poll_interval (6)"},
		{"desired.partition=a.b", "desired.partition", "letters"},
		{"desired.partition=>", "desired.partition", "letters"},
		{"desired.bulk.url=cc:8181", "desired.bulk.url", "http://"},
		{"desired.bulk.url=http://", "desired.bulk.url", "http://"},
		{"desired.bulk.url=http://u:p@cc", "desired.bulk.url", "without user"},
		{"desired.bulk.url=http://cc/?a=b", "desired.bulk.url", "query"},
		{"desired.bulk.username=u", "desired.bulk.password", "username is set"},
		{"desired.bulk.password=u", "desired.bulk.username", "password is set"},
		{"desired.bulk.batch_size=0", "desired.bulk.batch_size", "from 1"},
		{"desired.bulk.timeout=0s", "desired.bulk.timeout", "10ms"},
		{"desired.sql.driver=oracle", "desired.sql.driver", "postgres, mysql, sqlite"},
		{"desired.sql.dsn=postgres://u:secret@h/d\x00", "desired.sql.dsn", "data source names"},
		{"desired.sql.schema=v4", "desired.sql.schema", "v2, v3, auto"},
		{"desired.sql.batch_size=0", "desired.sql.batch_size", "from 1"},
		{"desired.filter.stacks=lucid64", "desired.filter.stacks", "desired.source: sql"},
		{"desired.filter.isolation_segments=a,b", "desired.filter.isolation_segments", "do not say where an app belongs to"},
		{"desired.source=sql desired.sql.dsn=x desired.sql.schema=v2 desired.filter.isolation_segments=a", "desired.filter.isolation_segments", "older than isolation segments"},
		{"desired.filter.organizations=a,,b", "desired.filter.organizations", "names or guids"},
		{"policy.heartbeat_period=1ms", "policy.heartbeat_period", "10ms"},
		{"policy.heartbeat_ttl=1", "policy.heartbeat_ttl", "from 2"},
		{"policy.freshness=0", "policy.freshness", "from 1"},
		{"policy.grace=0", "policy.grace", "from 1"},
		{"policy.start_limit=-1", "policy.start_limit", "from 0"},
		{"policy.stop_limit=-1", "policy.stop_limit", "from 0"},
		{"policy.crashes_before_backoff=-1", "policy.crashes_before_backoff", "from 0"},
		{"policy.backoff_start=0", "policy.backoff_start", "from 1"},
		{"policy.backoff_start=9 policy.backoff_max=8", "policy.backoff_max", "policy.backoff_start (9)"},
		{"policy.duplicate_grace=-1", "policy.duplicate_grace", "from 0"},
		{"guard.desired_shrink=1.5", "guard.desired_shrink", "0 to 1"},
		{"guard.desired_shrink=NaN", "guard.desired_shrink", "0 to 1"},
		{"guard.min_apps=-1", "guard.min_apps", "from 0"},
		{"guard.confirm_reads=0", "guard.confirm_reads", "from 1"},
		{"guard.mass_loss=-0.1", "guard.mass_loss", "0 to 1"},
		{"guard.min_deas=-1", "guard.min_deas", "from 0"},
		{"guard.mass_loss_hold=0", "guard.mass_loss_hold", "from 1"},
		{"commands.mode=dry", "commands.mode", "enforce, shadow"},
		{"commands.mode=shadow commands.protocol=http commands.cc_url=http://cc", "commands.protocol", "cannot hear what it posts"},
		{"commands.protocol=http", "commands.cc_url", "the URL of the Cloud Controller"},
		{"commands.protocol=smoke", "commands.protocol", "one of hm9000"},
		{"commands.cc_url=http://u:secret@cc", "commands.cc_url", "without user"},
		{"commands.cc_url=ftp://cc", "commands.cc_url", "http:// or https://"},
		{"commands.cc_username=u", "commands.cc_password", "since commands.cc_username is set"},
		{"commands.cc_password=secret", "commands.cc_username", "since commands.cc_password is set"},
		{"commands.cc_username=a:b commands.cc_password=secret", "commands.cc_username", "without ':'"},
		{"commands.cc_url=http://cc commands.cc_ca=f", "commands.cc_ca", "no https:// URL"},
		{"commands.claim_lease=0s", "commands.claim_lease", "10ms"},
		{"commands.claim_lease=15001ms", "commands.claim_lease", "half of policy.grace (15s)"},
		{"commands.claim_lease=1s policy.heartbeat_period=100ms", "commands.claim_lease", "half of policy.grace (150ms)"},
		{"nats.ping_interval=15001ms", "nats.ping_interval", "half of policy.freshness (15s)"},
		{"nats.ping_interval=1501ms policy.heartbeat_period=1s", "nats.ping_interval", "half of policy.freshness (1.5s)"},
		{"nats.ping_interval=1001ms policy.heartbeat_period=100ms", "nats.ping_interval", "or 1s if that is more"},
		{"commands.journal_entries=0", "commands.journal_entries", "from 1"},
		{"compat.component=DEA", "compat.component", "one of HealthManager, HM9000"},
		{"compat.component=HM9000", "compat.varz.listen", "since compat.component is set"},
		{"compat.varz.listen=127.0.0.1:0", "compat.component", "since compat.varz.listen is set"},
		{"compat.varz.listen=7879", "compat.varz.listen", "host:port"},
		{"compat.varz.username=u", "compat.varz.password", "compat.varz.username is set"},
		{"compat.varz.password=secret", "compat.varz.username", "compat.varz.password is set"},
		{"compat.varz.username=a:b compat.varz.password=secret", "compat.varz.username", "':'"},
		{"compat.varz.username=c compat.varz.password=secret api.username=u api.password=secret", "compat.varz.password", "another password than api.password"},
		{"compat.varz.username=c compat.varz.password=secret nats.token=secret", "compat.varz.password", "another password than nats.token"},
		{"heartbeats.listen=0.0.0.0:5335", "heartbeats.listen", "heartbeats.tls.client_ca"},
		{"heartbeats.listen=0.0.0.0:5335 heartbeats.tls.cert=c heartbeats.tls.key=k", "heartbeats.listen", "certificates of the DEAs"},
		{"heartbeats.tls.cert=c", "heartbeats.tls.key", "a certificate needs its key"},
		{"heartbeats.tls.client_ca=c", "heartbeats.tls.cert", "client certificates need HTTPS"},
		{"log.level=loud", "log.level", "debug, info"},
		{"log.format=xml", "log.format", "text, json"},
	} {
		t.Run(c.set, func(t *testing.T) {
			err := set(t, strings.Split(c.set, " ")...).Validate()
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("%v is no Problems", err)
			}
			i := slices.IndexFunc(problems, func(p Problem) bool { return p.Key == c.key })
			if i < 0 || !strings.Contains(problems[i].Error(), c.want) {
				t.Fatalf("no problem of %s with %q in: %v", c.key, c.want, err)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), ":p@") {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

func TestValidateAccepts(t *testing.T) {
	for _, texts := range []string{
		"api.listen=localhost:5155",
		"api.listen=[::1]:5155",
		"api.listen=127.0.0.9:0", "api.pprof=true",
		"api.listen=0.0.0.0:5155 api.username=u api.password=p",
		"api.listen=:5155 api.tls.cert=c api.tls.key=k api.tls.client_ca=a",
		"raft.listen=0.0.0.0:7140 raft.advertise=10.0.0.1:7140 raft.insecure=true",
		"raft.listen=localhost:7140 raft.peers=hm-0=localhost:7140,hm-1=[::1]:7141,hm-2=127.0.0.9:7140",
		"raft.listen=10.0.0.1:7140 raft.peers=hm-0=10.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140 raft.tls.cert=c raft.tls.key=k raft.tls.ca=a",
		"raft.peers=hm-0=127.0.0.1:7140",
		"node.id=hm-9 raft.join=true",
		"node.id=hm-9 raft.join=true raft.peers=hm-0=127.0.0.1:7141,hm-1=127.0.0.1:7142",
		"raft.listen=0.0.0.0:7140 raft.advertise=a:7140 raft.peers=hm-0=a:7140,hm-1=b:7140,hm-2=c:7140,hm-3=d:7140,hm-4=e:7140 raft.insecure=true",
		"raft.tls.cert=c raft.tls.key=k raft.tls.ca=a",
		"nats.servers=10.0.0.1:4222,tls://b,nats://u:p@d:4222",
		"nats.token=t", "nats.creds=f", "nats.username=u nats.password=p", "nats.tls.ca=c",
		"desired.bulk.url=https://cc.internal:9022/base desired.bulk.username=u desired.bulk.password=p",
		"policy.start_limit=0 guard.desired_shrink=0 guard.mass_loss=0 guard.min_apps=0",
		"commands.mode=shadow", "commands.protocol=health", "commands.mode=shadow commands.protocol=health", "policy.heartbeat_period=100ms", "log.level=debug log.format=json",
		"heartbeats.listen=127.0.0.1:5335",
		"heartbeats.listen=0.0.0.0:5335 heartbeats.tls.cert=c heartbeats.tls.key=k heartbeats.tls.client_ca=a",
		"desired.source=sql desired.sql.driver=mysql desired.sql.dsn=u:p@tcp(a)/d\nu:p@tcp(b)/d desired.sql.schema=v2 desired.sql.batch_size=1",
		"desired.source=sql desired.sql.dsn=x desired.filter.isolation_segments=shared desired.filter.stacks=a,b desired.filter.organizations=o",
		"desired.source=sql desired.sql.dsn=x desired.sql.schema=v2 desired.filter.stacks=a,b",
		"desired.sql.driver=postgres heartbeats.listen= commands.protocol=hm9000",
		"compat.component=HM9000 compat.varz.listen=0.0.0.0:7879",
		"compat.component=HealthManager compat.varz.listen=127.0.0.1:0 compat.varz.username=thin compat.varz.password=thin commands.mode=shadow",
		"commands.protocol=http commands.cc_url=https://cc.internal:9023/base commands.cc_username=u commands.cc_password=p commands.cc_ca=f",
		"commands.protocol=http commands.cc_url=http://127.0.0.1:9022",
	} {
		if err := set(t, strings.Split(texts, " ")...).Validate(); err != nil {
			t.Errorf("%s: %v", texts, err)
		}
	}
}

func TestValidateTellsEverythingInOrder(t *testing.T) {
	err := set(t, "log.level=loud", "api.listen=0.0.0.0:1", "policy.grace=0", "desired.ttl=1", "heartbeats.listen=0.0.0.0:1").Validate()
	var got []string
	for _, p := range err.(Problems) {
		got = append(got, p.Key)
	}
	want := []string{"api.listen", "desired.ttl", "policy.grace", "heartbeats.listen", "log.level"}
	if !slices.Equal(got, want) {
		t.Errorf("problems of %v, want %v", got, want)
	}
	if lines := strings.Count(err.Error(), "\n"); lines != len(want) {
		t.Errorf("%d problems on %d lines: %v", len(want), lines, err)
	}
	var one Problem
	if !errors.As(err, &one) || one.Key != "api.listen" {
		t.Errorf("no single problem found in %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ set, listening, raft, api string }{
		{"node.id=a", "127.0.0.1:5155", "127.0.0.1:7140", "127.0.0.1:5155"},
		{"raft.listen=10.0.0.1:7140", "127.0.0.1:5155", "10.0.0.1:7140", ""}, // README's sample
		{"raft.listen=10.0.0.1:7140", "10.0.0.1:5155", "10.0.0.1:7140", "10.0.0.1:5155"},
		{"raft.listen=:7140 raft.advertise=10.0.0.1:7140", "[::]:5155", "10.0.0.1:7140", "10.0.0.1:5155"},
		{"api.advertise=hm:443", "0.0.0.0:5155", "127.0.0.1:7140", "hm:443"},
		{"raft.listen=[::1]:7140", "[::]:5155", "[::1]:7140", "[::1]:5155"},
	} {
		cfg := set(t, strings.Split(c.set, " ")...)
		if cfg.RaftAddress() != c.raft || cfg.APIAddress(c.listening) != c.api {
			t.Errorf("%s at %s: %s and %q, want %s and %q", c.set, c.listening, cfg.RaftAddress(), cfg.APIAddress(c.listening), c.raft, c.api)
		}
	}
}

func TestVarzAddress(t *testing.T) {
	const peers = "raft.insecure=true raft.peers=hm-0=10.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140 raft.listen=0.0.0.0:7140 raft.advertise=10.0.0.2:7140 node.id=hm-1"
	for _, c := range []struct {
		set, listening, want string
		index                int
	}{
		{"node.id=a", "10.0.0.9:7879", "10.0.0.9:7879", 0},
		{"node.id=a", "[::]:7879", "127.0.0.1:7879", 0},
		{"raft.listen=10.0.0.1:7140", "0.0.0.0:54321", "10.0.0.1:54321", 0},
		{peers, "[::]:7879", "10.0.0.2:7879", 1},
		{peers + " api.advertise=proxy:443", "[::]:7879", "10.0.0.2:7879", 1},
		{"api.advertise=hm:443", "[::]:7879", "hm:7879", 0},
		{"raft.listen=[fd00::1]:7140", ":7879", "[fd00::1]:7879", 0},
	} {
		cfg := set(t, strings.Fields(c.set)...)
		if got, index := cfg.VarzAddress(c.listening), cfg.ComponentIndex(); got != c.want || index != c.index {
			t.Errorf("%s at %s: %s, index %d; want %s, index %d", c.set, c.listening, got, index, c.want, c.index)
		}
	}
}

// TestWarnings: with peers on other machines, an API that these cannot reach is probably a mistake.
func TestWarnings(t *testing.T) {
	const far = "raft.insecure=true raft.listen=10.0.0.1:7140 raft.peers=hm-0=10.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140 "
	const near = "raft.peers=hm-0=127.0.0.1:7140,hm-1=127.0.0.1:7141,hm-2=127.0.0.1:7142 "
	const login = "api.username=u api.password=p "
	for _, c := range []struct{ set, key string }{
		{"node.id=hm-0", ""},
		{near, ""},
		{near + "api.advertise=127.0.0.1:1", ""},
		{"raft.insecure=true raft.listen=10.0.0.1:7140", ""}, // a single node
		{far, "api.listen"},
		{far + "api.advertise=localhost:5155", "api.advertise"},
		{far + "api.advertise=hm.internal:443", ""}, // a proxy on this machine
		{"commands.protocol=http commands.cc_url=http://cc commands.cc_username=u commands.cc_password=p", "commands.cc_url"},
		{"commands.protocol=http commands.cc_url=https://cc commands.cc_username=u commands.cc_password=p", ""},
		{"commands.protocol=http commands.cc_url=http://[::1] commands.cc_username=u commands.cc_password=p", ""},
		{"commands.protocol=http commands.cc_url=http://cc", ""},
		{far + login + "api.listen=0.0.0.0:5155", ""},
		{far + login + "api.listen=10.0.0.1:5155", ""},
		{far + login + "api.listen=10.0.0.1:5155 api.advertise=127.0.0.1:5155", "api.advertise"},
		{"compat.component=HM9000 compat.varz.listen=127.0.0.1:7879", ""},
		{"compat.component=HM9000 compat.varz.listen=127.0.0.1:7879 nats.servers=10.0.0.7:4222", "compat.varz.listen"},
		{"compat.component=HM9000 compat.varz.listen=:7879 nats.servers=10.0.0.7:4222", "compat.varz.listen"},
		{"compat.component=HM9000 compat.varz.listen=:7879 nats.servers=10.0.0.7:4222 raft.listen=10.0.0.1:7140 raft.insecure=true", ""},
	} {
		cfg := set(t, strings.Fields(c.set)...)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", c.set, err)
		}
		got := ""
		for _, w := range cfg.Warnings() {
			got += w.Key
		}
		if got != c.key {
			t.Errorf("%s: warnings of %q, want of %q", c.set, got, c.key)
		}
	}
}
