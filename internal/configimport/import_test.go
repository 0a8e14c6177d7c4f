package configimport

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hm/internal/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestSamples imports the samples that HM9000 and HealthManager 2.0 were delivered with, and a file with every key that
// HM9000 has in a deployment.
func TestSamples(t *testing.T) {
	for _, c := range []struct {
		name, command string
		from          func([]byte) (Import, error)
	}{
		{"hm9000_sample.json", "hm config import-hm9000", FromHM9000},
		{"hm9000_deployed.json", "hm config import-hm9000", FromHM9000},
		{"ruby_sample.yml", "hm config import-ruby", FromRuby},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", c.name))
			if err != nil {
				t.Fatal(err)
			}
			im, err := c.from(data)
			if err != nil {
				t.Fatal(err)
			}
			if len(im.Missing) > 0 {
				t.Errorf("hm does not start with it: %v", im.Missing)
			}
			compareGolden(t, c.name+".golden", im.YAML(c.command, c.name))
		})
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test ./internal/configimport -update writes it anew); got:\n%s", path, got)
	}
}

// imported gives "key=value" of each setting that differs from hm's default, without hiding secrets.
func imported(im Import) []string {
	var got []string
	for _, s := range im.settings {
		if !s.isDefault() {
			got = append(got, s.key+"="+s.yaml())
		}
	}
	slices.Sort(got)
	return got
}

// minimal is what every HM9000 needs, and a test does not look at.
const minimal = `"cc_base_url": "http://127.0.0.1:8181", "nats": [{"host": "127.0.0.1", "port": 4222}],
	"api_server_address": "127.0.0.1", "api_server_username": "", "api_server_password": "", `

func TestHM9000(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       []string // settings
		say        string   // a part of the report
	}{
		{"C01", `"heartbeat_period_in_seconds": 30`, []string{"policy.heartbeat_period=30s"}, "carried  heartbeat_period_in_seconds = 30 -> policy.heartbeat_period = 30s\n"},
		{"C02", `"heartbeat_ttl_in_heartbeats": 6`, []string{"policy.heartbeat_ttl=6"}, ""},
		{"C02 too short for hm", `"heartbeat_ttl_in_heartbeats": 1`, []string{"policy.heartbeat_ttl=2"}, "policy.heartbeat_ttl = 2: hm takes 2 to 10000\n"},
		{"C02 too long for hm", `"heartbeat_ttl_in_heartbeats": 99999`, []string{"policy.heartbeat_ttl=10000"}, "hm takes 2 to 10000"},
		{"C03", `"actual_freshness_ttl_in_heartbeats": 4`, []string{"policy.freshness=4"}, ""},
		{"C04", `"grace_period_in_heartbeats": 5`, []string{"policy.grace=5"}, ""},
		{"C04 none", `"grace_period_in_heartbeats": 0`, []string{"policy.grace=1"}, "hm takes 1 to 10000"},
		{"C05", `"desired_freshness_ttl_in_heartbeats": 20`, []string{"desired.ttl=20"}, ""},
		{"C05 below C08", `"desired_freshness_ttl_in_heartbeats": 5`, nil, "default  desired_freshness_ttl_in_heartbeats = 5 -> desired.ttl: twice desired.poll_interval"},
		{"C08", `"fetcher_polling_interval_in_heartbeats": 3`, []string{"desired.poll_interval=3"}, ""},
		{"C08 above the default of C05", `"fetcher_polling_interval_in_heartbeats": 12`,
			[]string{"desired.poll_interval=12", "desired.ttl=24"}, "carried  desired_freshness_ttl_in_heartbeats -> desired.ttl = 24: twice"},
		{"C06 C07 C10 C11 C19", `"sender_timeout_in_heartbeats": 10`, nil, "dropped  sender_timeout_in_heartbeats = 10: the last HM9000 did not use it\n"},
		{"C16", `"desired_state_batch_size": 5000`, []string{"desired.bulk.batch_size=5000"}, ""},
		{"C16 none", `"desired_state_batch_size": 0`, nil, "0 asks for pages without apps"},
		{"C16 too large for hm", `"desired_state_batch_size": 1000000`, []string{"desired.bulk.batch_size=100000"}, "hm takes 1 to 100000"},
		{"C17", `"fetcher_network_timeout_in_seconds": 30`, []string{"desired.bulk.timeout=30s"}, ""},
		{"C17 none", `"fetcher_network_timeout_in_seconds": 0`, nil, "0 is no limit; hm always has one"},
		{"C17 too long for hm", `"fetcher_network_timeout_in_seconds": 3600`, []string{"desired.bulk.timeout=10m"}, "hm takes at most 10m"},
		{"C20", `"cc_auth_user": "bulk", "cc_auth_password": "pw: #1"`, []string{"desired.bulk.password='pw: #1'", "desired.bulk.username=bulk"}, ""},
		{"C20 none", `"cc_auth_user": ""`, nil, "hm asks the Cloud Controller for them over NATS"},
		{"C22", `"skip_cert_verify": false`, nil, "dropped  skip_cert_verify = false: hm always checks the certificate of the Cloud Controller\n"},
		{"C22 over http", `"skip_cert_verify": true`, nil, "and cc_base_url has none\n"},
		{"C23", `"cc_internal_url": "http://cc.internal:9022"`,
			[]string{"commands.cc_url=http://cc.internal:9022", "commands.protocol=http"}, ""},
		{"C23 none", `"cc_internal_url": ""`, nil, "default  cc_internal_url -> commands.protocol: without it hm sends commands over NATS"},
		{"C28", `"sender_nats_start_subject": "other.start"`, nil, "sender_nats_start_subject: hm publishes on hm9000.start, whatever this key says"},
		{"C29", `"sender_message_limit": 30`, []string{"policy.start_limit=30"}, "so policy.start_limit 5 is HM9000's rate"},
		{"C30", `"number_of_crashes_before_backoff_begins": 0`, []string{"policy.crashes_before_backoff=0"}, ""},
		{"C30 too many for hm", `"number_of_crashes_before_backoff_begins": 1001`, []string{"policy.crashes_before_backoff=1000"}, "hm takes 0 to 1000"},
		{"C31", `"starting_backoff_delay_in_heartbeats": 6`, []string{"policy.backoff_start=6"}, ""},
		{"C32 below C31", `"starting_backoff_delay_in_heartbeats": 9, "maximum_backoff_delay_in_heartbeats": 6`,
			[]string{"policy.backoff_max=6", "policy.backoff_start=6"}, "at most policy.backoff_max, 6"},
		{"C36", `"log_level": "DEBUG"`, []string{"log.level=debug"}, ""},
		{"C38", `"nats_client_ping_interval": 5`, []string{"nats.ping_interval=5s"}, ""},
		{"C38 too long for hm", `"nats_client_ping_interval": 16`, nil, "dropped  nats_client_ping_interval = 16: hm's default stays"},
		{"C39 without C40", `"http_heartbeat_port": 5335`, nil, "dropped  http_heartbeat_port = 5335: hm accepts heartbeats over HTTPS only with all three files of ssl\n"},
		{"C40", `"ssl": {"key_file": "/k", "cert_file": "/c", "ca_file": "/ca"}`,
			[]string{"heartbeats.listen=0.0.0.0:5335", "heartbeats.tls.cert=/c", "heartbeats.tls.client_ca=/ca", "heartbeats.tls.key=/k"},
			"carried  http_heartbeat_server_address -> heartbeats.listen = 0.0.0.0:5335: HM9000 listens on 0.0.0.0:5335\n"},
		{"C42", `"config_cluster": "http://127.0.0.1:8500"`, nil, "dropped  config_cluster: the nodes of hm elect a leader"},
		{"C42 misspelt", `"consul_cluster": "http://127.0.0.1:8500"`, nil, "consul_cluster: HM9000 never read this key but config_cluster"},
		{"C43", `"etcd_require_ssl": true, "etcd": {"key_file": "/k"}`, nil, "dropped  etcd.key_file: hm keeps its record in its own log"},
		{"a name in capitals", `"Log_Level": "DEBUG"`, []string{"log.level=debug"}, "carried  Log_Level -> log.level = debug"},
		{"null is no value", `"grace_period_in_heartbeats": null`, nil, "dropped  grace_period_in_heartbeats: it has no value\n"},
		{"unknown", `"grace_period_in_hartbeats": 4, "x": {"y": 1}`, nil,
			"unknown  grace_period_in_hartbeats: HM9000 does not read it; did you mean grace_period_in_heartbeats?\n#   unknown  x: HM9000 does not read it\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := FromHM9000([]byte("{" + minimal + c.json + "}"))
			if err != nil {
				t.Fatal(err)
			}
			if got := imported(im); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if text := string(im.YAML("", "")); !strings.Contains(text, c.say) {
				t.Errorf("nothing says %q in:\n%s", c.say, text)
			}
			if len(im.Missing) > 0 {
				t.Errorf("hm does not start with it: %v", im.Missing)
			}
		})
	}
}

// TestHM9000Addresses is about keys that belong together: C21, C34, C35 and C37.
func TestHM9000Addresses(t *testing.T) {
	const published = "this is the password of HM9000's published source code"
	for _, c := range []struct {
		name, json string
		want       []string
		say        string
		missing    []string // keys of hm
	}{
		{"an empty file", `{}`, []string{"api.listen=0.0.0.0:5155", "api.password=orangutan4sale", "api.username=magnet"},
			"carried  api_server_password -> api.password = ********: HM9000 takes the password of its source code\n", []string{"nats.servers", "desired.bulk.url"}},
		{"C34 C35", `{"cc_base_url": "cc:80", "nats": [{"host": "n", "port": 1}], "api_server_address": "10.0.0.1", "api_server_port": 80, "api_server_username": "u", "api_server_password": "p"}`,
			[]string{"api.listen=10.0.0.1:80", "api.password=p", "api.username=u", "desired.bulk.url=http://cc:80", `nats.servers=["nats://n:1"]`}, "", nil},
		{"C35 without a user beyond loopback", `{"cc_base_url": "http://cc", "nats": [{"host": "n", "port": 1}], "api_server_username": "", "api_server_password": ""}`,
			[]string{"api.listen=0.0.0.0:5155", "desired.bulk.url=http://cc", `nats.servers=["nats://n:1"]`}, "", []string{"api.listen"}},
		{"C22 over https", `{"cc_base_url": "HTTPS://cc", "skip_cert_verify": true, "nats": [{"host": "n", "port": 1}], "api_server_address": "127.0.0.1", "api_server_password": "p"}`,
			[]string{"api.password=p", "api.username=magnet", "desired.bulk.url=HTTPS://cc", `nats.servers=["nats://n:1"]`},
			"#   skip_cert_verify: hm has no such switch and checks the certificate of cc_base_url: let the system trust its authority\n", nil},
		{"C37 one user", `{"cc_base_url": "http://cc", "api_server_address": "::1", "api_server_password": "p",
			"nats": [{"host": "a", "port": 4222, "user": "u", "password": "p:@%"}, {"host": "::2", "port": 4223, "user": "u", "password": "p:@%"}]}`,
			[]string{`api.listen='[::1]:5155'`, "api.password=p", "api.username=magnet", "desired.bulk.url=http://cc", "nats.password=p:@%",
				`nats.servers=["nats://a:4222", "nats://[::2]:4223"]`, "nats.username=u"}, "", nil},
		{"C37 two users", `{"cc_base_url": "http://cc", "api_server_address": "127.0.0.1", "api_server_password": "p",
			"nats": [{"host": "a", "port": 4222, "user": "u", "password": "p:@%"}, {"host": "b", "port": 4222}]}`,
			[]string{"api.password=p", "api.username=magnet", "desired.bulk.url=http://cc",
				`nats.servers=["nats://u:p%3A%40%25@a:4222", "nats://b:4222"]`}, "nats: the servers have different users", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := FromHM9000([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			if got := imported(im); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			text := string(im.YAML("", ""))
			if !strings.Contains(text, c.say) {
				t.Errorf("nothing says %q in:\n%s", c.say, text)
			}
			if strings.Contains(text, published) != slices.Contains(c.want, "api.password=orangutan4sale") {
				t.Errorf("a warning of the published password, or none:\n%s", text)
			}
			var missing []string
			for _, p := range im.Missing {
				missing = append(missing, p.Key)
			}
			if !slices.Equal(missing, c.missing) {
				t.Errorf("missing %q, want %q: %v", missing, c.missing, im.Missing)
			}
		})
	}
}

func TestRuby(t *testing.T) {
	const start = "mbus: nats://127.0.0.1:4222\nbulk_api: {host: http://127.0.0.1:8181"
	for _, c := range []struct {
		name, yaml string
		want       []string // beside the protocol
		say        string
	}{
		{"C46", "}\nlogging: {level: debug2}", []string{"log.level=debug"}, ""},
		{"C46 a file", "}\nlogging: {file: /var/log/hm}", nil, "dropped  logging.file: hm logs to standard error\n"},
		{"C48", ", batch_size: 250}", []string{"desired.bulk.batch_size=250"}, ""},
		{"C48 in quotes", `, batch_size: "250"}`, []string{"desired.bulk.batch_size=250"}, "bulk_api.batch_size = 250"},
		{"C49", "}\ncc_partition: blue", []string{"desired.partition=blue"}, ""},
		{"C50", "}\nlocal_route: 10.0.0.1\nstatus: {port: 54321, user: thin, password: thick}",
			[]string{"compat.component=HealthManager", "compat.varz.listen=0.0.0.0:54321", "compat.varz.password=thick", "compat.varz.username=thin"},
			"name one in compat.varz.listen"},
		{"C50 without a port", "}\nstatus: {user: thin, password: thin}", nil, "dropped  status.user: HealthManager took any port"},
		{"C50 without a password", "}\nstatus: {port: 54321, user: thin}",
			[]string{"compat.component=HealthManager", "compat.varz.listen=0.0.0.0:54321"}, "hm makes up both"},
		{"C52", "}\nblack_box_test_mode: true", nil, "this is the configuration of a test"},
		{"C53 rounded", "}\nintervals: {desired_state_update: 45}", []string{"desired.poll_interval=5"},
			"intervals.desired_state_update = 45 -> desired.poll_interval = 5: rounded up to heartbeats of 10s\n"},
		{"C53 long", "}\nintervals: {desired_state_update: 300}", []string{"desired.poll_interval=30", "desired.ttl=60"}, "twice desired.poll_interval"},
		{"C54", "}\nintervals: {desired_state_lost: 180}", nil, "an app that a complete read does not name is undesired for hm at once"},
		{"C56", "}\nintervals: {droplet_lost: 50}", []string{"policy.heartbeat_ttl=5"}, ""},
		{"C56 too short for hm", "}\nintervals: {droplet_lost: 0.5}", []string{"policy.heartbeat_ttl=2"}, "hm takes 2 to 10000; rounded up"},
		{"C57 C58", "}\nintervals: {request_queue: 2, queue_batch_size: 3}", []string{"policy.start_limit=15"}, ""},
		{"C57 alone", "}\nintervals: {request_queue: 5}", []string{"policy.start_limit=80"}, ""},
		{"C62", "}\nintervals: {flapping_death: 2}", []string{"policy.crashes_before_backoff=2"}, ""},
		{"C63", "}\nintervals: {giveup_crash_number: 4}", nil, "hm never gives an index up"},
		{"C64 above C65", "}\nintervals: {min_restart_delay: 90, max_restart_delay: 80}", []string{"policy.backoff_max=8", "policy.backoff_start=8"}, "at most policy.backoff_max"},
		{"C70", "}\nintervals: {stable_state: 1}", nil, "dropped  intervals.stable_state = 1: HealthManager did not use it\n"},
		{"C71 unknown", "}\nintervals: {droplet_lots: 1}", nil, "unknown  intervals.droplet_lots: HealthManager does not read it; did you mean intervals.droplet_lost?\n"},
		{"a section without keys", "}\nintervals:\nstatus: ~", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := FromRuby([]byte(start + c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			want := append([]string{"commands.protocol=health"}, c.want...)
			slices.Sort(want)
			if got := imported(im); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if text := string(im.YAML("", "")); !strings.Contains(text, c.say) {
				t.Errorf("nothing says %q in:\n%s", c.say, text)
			}
			if len(im.Missing) > 0 {
				t.Errorf("hm does not start with it: %v", im.Missing)
			}
		})
	}
}

// TestRubyBus is about C44 and C47.
func TestRubyBus(t *testing.T) {
	for mbus, want := range map[string][]string{
		"nats://nats:nats@10.0.0.1:4233/": {"nats.password=nats", `nats.servers=["nats://10.0.0.1:4233"]`, "nats.username=nats"},
		"10.0.0.1":                        {`nats.servers=["nats://10.0.0.1:4222"]`},
		"tls://n:1":                       {`nats.servers=["tls://n:1"]`},
		"nats://secret@n:1":               {`nats.servers=["nats://n:1"]`, "nats.token=secret"},
		"nats://u:p%40@n:1":               {"nats.password=p@", `nats.servers=["nats://n:1"]`, "nats.username=u"},
	} {
		im, err := FromRuby([]byte("mbus: " + mbus + "\nbulk_api: {host: api.vcap.me}"))
		if err != nil {
			t.Fatal(err)
		}
		want = append([]string{"commands.protocol=health", "desired.bulk.url=http://api.vcap.me"}, want...)
		if got := imported(im); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", mbus, got, want)
		}
		if warned := len(im.Warnings) > 0; warned != strings.Contains(mbus, "%") {
			t.Errorf("%s: warnings %q", mbus, im.Warnings)
		}
	}
	im, err := FromRuby([]byte("{}"))
	if err != nil || len(im.Missing) != 2 || im.Missing[0].Key != "nats.servers" || im.Missing[1].Key != "desired.bulk.url" {
		t.Errorf("without bus and bulk API: %v, missing %v", err, im.Missing)
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat(`[`, maxDepth+1)
	many := strings.Repeat(`1,`, maxValues)
	for _, c := range []struct{ name, source, want string }{
		{"empty", "", "line 1: the JSON ends early"},
		{"a list", "[]", "it is not a JSON object"},
		{"cut", `{"nats": [`, "line 1: the JSON ends early"},
		{"broken", "{\n  nats}", "line 2: invalid character 'n'"},
		{"twice", "{\"log_level\": \"INFO\",\n \"log_level\": \"DEBUG\"}", `line 2: key "log_level" is there twice`},
		{"twice, in capitals", "{\"log_level\": \"INFO\",\n \"LOG_LEVEL\": \"DEBUG\"}", "LOG_LEVEL: it is there twice, in line 1 and in line 2"},
		{"more follows", "{}\n{}", "line 2: something follows the JSON object"},
		{"deep", `{"x": ` + deep, "nested deeper than 8"},
		{"many", `{"x": [` + many + `1]}`, "more than 2000 values"},
		{"large", strings.Repeat(" ", MaxSize+1), "larger than the limit of 1 MiB"},
		{"C01", `{"heartbeat_period_in_seconds": 0}`, `heartbeat_period_in_seconds: "0": want a whole number from 1 to 600 (line 1)`},
		{"C01 half", `{"heartbeat_period_in_seconds": 0.5}`, `heartbeat_period_in_seconds: "0.5": want a whole number`},
		{"C01 huge", `{"heartbeat_period_in_seconds": 1e30}`, `"1e+30": want a whole number`},
		{"beyond every number", `{"heartbeat_period_in_seconds": 1e999}`, "value out of range"},
		{"C02 below zero", `{"heartbeat_ttl_in_heartbeats": -1}`, `heartbeat_ttl_in_heartbeats: "-1": want a whole number from 0`},
		{"C04 text", `{"grace_period_in_heartbeats": "3"}`, `grace_period_in_heartbeats: "a text": want a whole number`},
		{"C21", `{"cc_base_url": "ftp://cc"}`, `cc_base_url: "ftp://cc": want an http:// or https:// URL with a host, and without user, query or fragment, for desired.bulk.url of hm (line 1)`},
		{"C21 list", `{"cc_base_url": ["http://cc"]}`, `cc_base_url: "a list": want text in quotes`},
		{"C22", `{"skip_cert_verify": "yes"}`, `skip_cert_verify: "a text": want true or false`},
		{"C29", `{"sender_message_limit": 0}`, `sender_message_limit: "0": want more than 0`},
		{"C34", `{"api_server_port": 65536}`, `want a whole number from 0 to 65535`},
		{"C34 address", `{"api_server_address": "a b"}`, `want host:port, such as 127.0.0.1:5155, for api.listen of hm`},
		{"C36", `{"log_level": "WARN"}`, `log_level: "WARN": want INFO, DEBUG or nothing`},
		{"C37 object", `{"nats": {"host": "a"}}`, `nats: "an object": want a list of objects`},
		{"C37 text", `{"nats": ["a"]}`, `nats: "a text": want nats[0] to be an object`},
		{"C37 host", `{"nats": [{"port": 1}]}`, `nats: nats[0].host: the host is missing`},
		{"C37 bad host", `{"nats": [{"host": "a/b", "port": 1}]}`, `nats: nats[0]: the address `},
		{"C37 port", `{"nats": [{"host": "a"}]}`, `nats: nats[0].port: the port is missing`},
		{"C37 port text", `{"nats": [{"host": "a", "port": "1"}]}`, `nats[0].port: "a text": want a whole number from 1 to 65535`},
		{"C37 user", `{"nats": [{"host": "a", "port": 1, "password": "p"}]}`, `nats[0].user: the user is missing`},
		{"C37 password", `{"nats": [{"host": "a", "port": 1, "user": "u"}]}`, `nats[0].password: the password is missing`},
		{"C40", `{"ssl": "no"}`, `ssl: it must have keys of its own, not a text (line 1)`},
		{"all at once", `{"log_level": 1, "grace_period_in_heartbeats": true}`, "2 problems"},
	} {
		t.Run("HM9000 "+c.name, func(t *testing.T) { refused(t, FromHM9000, c.source, c.want) })
	}
	for _, c := range []struct{ name, source, want string }{
		{"empty", "", "it is empty"},
		{"a list", "- a", "it is not a YAML mapping"},
		{"broken", "a: [", "yaml: line "},
		{"twice", "mbus: a\nmbus: b", `line 2: key "mbus" is there twice`},
		{"two documents", "mbus: a\n---\nmbus: b", "a second YAML document follows"},
		{"alias", "a: &x 1\nb: *x", "line 2: it has an alias (*x): write the value in its place"},
		{"a key that is a list", "? [a]\n: b", "line 1: a key is not a text"},
		{"deep", "a: " + deep + strings.Repeat("]", maxDepth+1), "nested deeper than 8"},
		{"many", "a: [" + many + "1]", "more than 2000 values"},
		{"large", strings.Repeat(" ", MaxSize+1), "larger than the limit of 1 MiB"},
		{"C44", "mbus: http://n", "mbus: the address must begin with nats:// or tls:// (line 1)"},
		{"C44 user", "mbus: nats://u:@n", "mbus: a user with a password"},
		{"C44 type", "mbus: 7", `mbus: "7": want text in quotes (line 1)`},
		{"C46", "logging: {level: loud}", `logging.level: "loud": want one of off, fatal`},
		{"C47", "bulk_api: {host: 'http://u:secret@cc'}", `bulk_api.host: "http://u:********@cc": want an http:// or https:// URL`},
		{"C48", "bulk_api: {batch_size: many}", `bulk_api.batch_size: "a text": want a whole number`},
		{"C49", "cc_partition: a.b", `cc_partition: "a.b": want 1 to 64 letters, digits, '-' and '_', for desired.partition of hm`},
		{"C50", "status: {port: 0}", `status.port: "0": want a whole number from 1 to 65535`},
		{"C53", "intervals: {desired_state_update: soon}", `intervals.desired_state_update: "a text": want a number of seconds (line 1)`},
		{"C53 negative", "intervals: {desired_state_update: -1}", `"-1": want a number of seconds`},
		{"C53 not a number", "intervals: {desired_state_update: .nan}", `"NaN": want a number of seconds`},
		{"intervals", "intervals: 7", "intervals: it must have keys of its own, not 7 (line 1)"},
	} {
		t.Run("Ruby "+c.name, func(t *testing.T) { refused(t, FromRuby, c.source, c.want) })
	}
}

func refused(t *testing.T, from func([]byte) (Import, error), source, want string) {
	t.Helper()
	im, err := from([]byte(source))
	switch {
	case err == nil:
		t.Errorf("accepted: %v", imported(im))
	case !strings.Contains(err.Error(), want):
		t.Errorf("got %q, want %q", err, want)
	case strings.Contains(err.Error(), "secret"):
		t.Errorf("a secret is shown: %v", err)
	}
}

// TestEveryKeyIsKnown holds that the report explains every key that a predecessor ever had: C01 to C43 and C44 to C70.
func TestEveryKeyIsKnown(t *testing.T) {
	hm9000, err := FromHM9000([]byte("{}"))
	ruby, err2 := FromRuby([]byte("{}"))
	if err := errors.Join(err, err2); err != nil || len(hm9000.Lines)+len(ruby.Lines) > 0 {
		t.Fatal(err, hm9000.Lines, ruby.Lines)
	}
	for name, from := range map[string]func(string) (Import, error){
		"hm9000_keys.txt": func(key string) (Import, error) { return FromHM9000([]byte(nested(key, `{%q: %s}`))) },
		"ruby_keys.txt":   func(key string) (Import, error) { return FromRuby([]byte(nested(key, `{%q: %s}`))) },
	} {
		keys, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for key := range strings.FieldsSeq(string(keys)) {
			im, err := from(key)
			var problems config.Problems
			switch {
			case errors.As(err, &problems): // the key is known, and takes no list
			case err != nil:
				t.Errorf("%s: %v", key, err)
			case len(im.Lines) != 1 || im.Lines[0].Source != key || im.Lines[0].Outcome == Unknown:
				t.Errorf("%s: %+v", key, im.Lines)
			}
		}
	}
}

// nested gives an object with one key, which may be in a section. Its value is a list, which no key that hm carries over
// takes but nats, and there it is empty.
func nested(key, format string) string {
	section, last, ok := strings.Cut(key, ".")
	if !ok {
		return fmt.Sprintf(format, key, "[]")
	}
	return fmt.Sprintf(format, section, fmt.Sprintf(format, last, "[]"))
}

// TestNoSecretInTheReport puts a secret into every text that can be one, known or not.
func TestNoSecretInTheReport(t *testing.T) {
	const secret = "xyzzy"
	hm9000, err := FromHM9000([]byte(`{"cc_base_url": "http://cc", "cc_auth_user": "u", "cc_auth_password": "xyzzy", "api_server_password": "xyzzy",
		"metrics_server_password": "xyzzy", "nats": [{"host": "a", "port": 1, "user": "u", "password": "xyzzy"}, {"host": "b", "port": 1, "pass": "xyzzy"}],
		"cc_auth_passwrd": "xyzzy", "store_urls": ["http://u:xyzzy@etcd"], "cc_internal_url": "http://cc"}`))
	ruby, err2 := FromRuby([]byte("mbus: nats://u:xyzzy@n\nbulk_api: {host: cc, password: xyzzy}\nstatus: {port: 1, user: u, password: xyzzy}"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, im := range []Import{hm9000, ruby} {
		text := string(im.YAML("", ""))
		report := text[:strings.Index(text, "\n\n")]
		if strings.Contains(report, secret) || strings.Contains(fmt.Sprint(im.Warnings, im.Missing), secret) {
			t.Errorf("a secret is in the report:\n%s", report)
		}
		if !strings.Contains(text, secret) {
			t.Error("the configuration has no secret, so hm cannot start with it")
		}
	}
}

func TestBoundsAreThoseOfTheKeys(t *testing.T) {
	for key, most := range map[string]int{
		"policy.heartbeat_ttl": maxBeats, "policy.freshness": maxBeats, "policy.grace": maxBeats, "policy.backoff_start": maxBeats,
		"policy.backoff_max": maxBeats, "desired.poll_interval": maxBeats, "desired.ttl": maxBeats,
		"policy.crashes_before_backoff": maxCrashes, "desired.bulk.batch_size": maxBatch, "policy.start_limit": maxStarts,
		"policy.heartbeat_period": int(maxPeriod), "desired.bulk.timeout": int(maxBulkTimeout), "nats.ping_interval": int(maxPing),
	} {
		k, known := config.KeyNamed(key)
		for n, want := range map[int]bool{most: true, most + 1: false} {
			text := fmt.Sprint(n)
			if k.Type() == "duration" {
				text += "ns"
			}
			c := config.Default()
			if p := k.SetText(&c, text); !known || p != nil || k.Accepts(&c) != want {
				t.Errorf("%s: %s: %v, accepted %v", key, text, p, k.Accepts(&c))
			}
		}
	}
}
