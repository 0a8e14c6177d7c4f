package configimport

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"hm/internal/config"
	"hm/internal/config/limits"
)

// What HM9000 does without a key, where hm does something else.
const (
	hm9000Host        = "0.0.0.0"
	hm9000APIPort     = 5155
	hm9000BeatPort    = 5335
	publishedUser     = "magnet"
	publishedPassword = "orangutan4sale"
)

// FromHM9000 makes hm's configuration from HM9000's JSON. The error lists every problem with it.
func FromHM9000(data []byte) (Import, error) {
	top, err := decodeJSON(data)
	if err != nil {
		return Import{}, err
	}
	im := newImporting("HM9000", newSource(top, true, "ssl", "etcd"))
	im.hm9000Policy()
	im.hm9000CloudController()
	im.hm9000Commands()
	im.hm9000API()
	im.hm9000Heartbeats()
	im.hm9000NATS()
	im.hm9000Log()
	im.hm9000Rest()
	return im.finish()
}

func (im *importing) hm9000Policy() {
	const period = "heartbeat_period_in_seconds"
	if n, ok := im.whole(period, 1, int(maxPeriod/time.Second)); ok {
		im.set("policy.heartbeat_period", time.Duration(n)*time.Second, period)
	}
	im.carried(period, "", "policy.heartbeat_period")
	im.beats("heartbeat_ttl_in_heartbeats", "policy.heartbeat_ttl", 2, "")
	im.beats("actual_freshness_ttl_in_heartbeats", "policy.freshness", 1, "")
	im.beats("grace_period_in_heartbeats", "policy.grace", 1, "")
	im.beats("number_of_crashes_before_backoff_begins", "policy.crashes_before_backoff", 0, "")
	im.beats("maximum_backoff_delay_in_heartbeats", "policy.backoff_max", 1, "")
	const first = "starting_backoff_delay_in_heartbeats"
	if n, ok := im.whole(first, 0, maxBeats); ok {
		note := ""
		if most := im.result.Config.Policy.BackoffMax; n > most {
			note = fmt.Sprintf("at most policy.backoff_max, %d", most)
			n = most
		}
		im.set("policy.backoff_start", max(n, 1), first)
		im.carried(first, note, "policy.backoff_start")
	}
	im.beats("fetcher_polling_interval_in_heartbeats", "desired.poll_interval", 1,
		"HM9000 also sent its commands only so often; hm sends one as soon as it is due")
	im.desiredTTL()
}

// beats carries over a number of heartbeats or crashes. hm takes at least least and at most what its key allows: a number
// outside becomes the nearest one that hm takes, and the line says so.
func (im *importing) beats(name, key string, least int, note string) {
	n, ok := im.whole(name, 0, 1<<31-1)
	if !ok {
		im.carried(name, note, key)
		return
	}
	most := maxBeats
	if key == "policy.crashes_before_backoff" {
		most = maxCrashes
	}
	im.setNear(name, key, n, least, most, note)
}

// setNear sets a key to the number that is nearest to n between two limits.
func (im *importing) setNear(name, key string, n, least, most int, note string) {
	near := min(max(n, least), most)
	if near != n {
		note = joinNotes(fmt.Sprintf("hm takes %d to %d", least, most), note)
	}
	im.set(key, near, name)
	im.carried(name, note, key)
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// desiredTTL keeps desired.ttl above desired.poll_interval, as hm demands.
func (im *importing) desiredTTL() {
	const name = "desired_freshness_ttl_in_heartbeats"
	const key = "desired.ttl"
	poll, ttl := im.result.Config.Desired.PollInterval, im.result.Config.Desired.TTL
	n, ok := im.whole(name, 0, maxBeats)
	if ok {
		ttl = n
	}
	note := "the last HM9000 ignored it; hm sends no command when the desired state is older"
	if ttl <= poll {
		ttl = min(2*poll, maxBeats)
		note = joinNotes(fmt.Sprintf("twice desired.poll_interval, since it must be longer than %d", poll), note)
		if !ok {
			im.absent(name, note, key)
		}
	}
	im.set(key, ttl, name)
	im.carried(name, note, key)
}

func (im *importing) hm9000CloudController() {
	const url, user, password = "cc_base_url", "cc_auth_user", "cc_auth_password"
	base, ok := im.text(url)
	if ok && base != "" {
		im.bulkURL(url, base)
	} else {
		im.missing("desired.bulk.url", "the base URL of the Cloud Controller: %s is not in the file", url)
	}
	im.carried(url, "", "desired.bulk.url")
	name, _ := im.text(user)
	secret, _ := im.text(password)
	note := ""
	if name == "" && secret == "" {
		note = "without user and password hm asks the Cloud Controller for them over NATS"
	}
	im.set("desired.bulk.username", name, user)
	im.set("desired.bulk.password", secret, password)
	im.carried(user, note, "desired.bulk.username")
	im.carried(password, "", "desired.bulk.password")

	const batch = "desired_state_batch_size"
	switch n, ok := im.whole(batch, 0, 1<<31-1); {
	case ok && n > 0:
		im.setNear(batch, "desired.bulk.batch_size", n, 1, maxBatch, "")
	default:
		im.carried(batch, "0 asks for pages without apps, so hm's default stays", "desired.bulk.batch_size")
	}
	const timeout = "fetcher_network_timeout_in_seconds"
	switch n, ok := im.whole(timeout, 0, 1<<31-1); {
	case ok && n > 0:
		asked, note := time.Duration(n)*time.Second, ""
		if asked > maxBulkTimeout {
			note = "hm takes at most 10m"
		}
		im.set("desired.bulk.timeout", min(asked, maxBulkTimeout), timeout)
		im.carried(timeout, note, "desired.bulk.timeout")
	default:
		im.carried(timeout, "0 is no limit; hm always has one, so its default stays", "desired.bulk.timeout")
	}
	const skip = "skip_cert_verify"
	why := "hm always checks the certificate of the Cloud Controller"
	if v, _ := im.truth(skip); v && strings.HasPrefix(strings.ToLower(base), "https:") {
		im.warn("%s: hm has no such switch and checks the certificate of %s: let the system trust its authority", skip, url)
		why += ": let the system trust its authority"
	} else if v {
		why += ", and " + url + " has none"
	}
	im.dropped(why, skip)
}

// bulkURL sets the base URL of the bulk API. http:// is put before an address without a scheme.
func (im *importing) bulkURL(name, base string) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	im.set("desired.bulk.url", base, name)
}

func (im *importing) hm9000Commands() {
	const limit, internal = "sender_message_limit", "cc_internal_url"
	switch n, ok := im.whole(limit, 0, 1<<31-1); {
	case ok && n == 0:
		im.problem(limit, "0", "more than 0: HM9000 sends no start with it, and for hm 0 is no limit. "+
			"To let hm send nothing, set commands.mode to shadow")
	case ok:
		poll := im.result.Config.Desired.PollInterval
		im.setNear(limit, "policy.start_limit", n, 1, maxStarts, fmt.Sprintf("HM9000 started so many in a pass, which is %d heartbeats; "+
			"hm may start so many in each heartbeat, so policy.start_limit %d is HM9000's rate", poll, max(n/poll, 1)))
	default:
		im.carried(limit, "", "policy.start_limit")
	}

	base, ok := im.text(internal)
	if !ok || base == "" {
		im.carried(internal, "without it hm sends commands over NATS, as hm9000.start and hm9000.stop", "commands.protocol")
	} else {
		if !strings.Contains(base, "://") {
			base = "http://" + base
		}
		im.set("commands.protocol", config.ProtocolHTTP, internal)
		im.set("commands.cc_url", base, internal)
		im.carried(internal, "commands go to the Cloud Controller by HTTP, which shadow mode cannot hear: for it set commands.protocol to hm9000",
			"commands.protocol", "commands.cc_url")
	}
	for _, s := range []struct{ name, subject string }{
		{"sender_nats_start_subject", "hm9000.start"}, {"sender_nats_stop_subject", "hm9000.stop"},
	} {
		if v, ok := im.text(s.name); ok && v != "" && v != s.subject {
			im.warn("%s: hm publishes on %s, whatever this key says", s.name, s.subject)
		}
		im.dropped("over NATS hm always publishes on "+s.subject, s.name)
	}
}

func (im *importing) hm9000API() {
	const address, port, user, password = "api_server_address", "api_server_port", "api_server_username", "api_server_password"
	host, hostGiven := im.text(address)
	if !hostGiven {
		host = hm9000Host
		im.absent(address, "HM9000 listens on "+hm9000Host, "api.listen")
	}
	n, portGiven := im.whole(port, 0, 1<<16-1)
	if !portGiven {
		n = hm9000APIPort
	}
	im.set("api.listen", net.JoinHostPort(host, strconv.Itoa(n)), address)
	im.carried(address, "", "api.listen")
	im.carried(port, "", "api.listen")

	name, nameGiven := im.text(user)
	secret, secretGiven := im.text(password)
	if !nameGiven {
		name = publishedUser
		im.absent(user, "HM9000 takes the user of its source code", "api.username")
	}
	if !secretGiven {
		secret = publishedPassword
		im.absent(password, "HM9000 takes the password of its source code", "api.password")
	}
	note := ""
	if secret == publishedPassword {
		note = "this is the password of HM9000's published source code"
		im.warn("%s: %s, and with it anyone can pause hm: change it here and in the Cloud Controller", password, note)
	}
	users, passwords := []string{"api.username"}, []string{"api.password"}
	im.set("api.username", name, user)
	im.set("api.password", secret, password)
	if v, _ := im.text("cc_internal_url"); v != "" {
		im.set("commands.cc_username", name, user)
		im.set("commands.cc_password", secret, password)
		users, passwords = append(users, "commands.cc_username"), append(passwords, "commands.cc_password")
	}
	im.carried(user, "", users...)
	im.carried(password, note, passwords...)
}

func (im *importing) hm9000Heartbeats() {
	const address, port = "http_heartbeat_server_address", "http_heartbeat_port"
	files := []struct{ name, key string }{
		{"ssl.cert_file", "heartbeats.tls.cert"}, {"ssl.key_file", "heartbeats.tls.key"}, {"ssl.ca_file", "heartbeats.tls.client_ca"},
	}
	complete := true
	for _, f := range files {
		v, _ := im.text(f.name)
		complete = complete && v != ""
	}
	host, hostGiven := im.text(address)
	if !hostGiven {
		host = hm9000Host
	}
	n, portGiven := im.whole(port, 0, 1<<16-1)
	if !portGiven {
		n = hm9000BeatPort
	}
	if !complete {
		im.dropped("hm accepts heartbeats over HTTPS only with all three files of ssl", address, port,
			"ssl.cert_file", "ssl.key_file", "ssl.ca_file")
		return
	}
	im.set("heartbeats.listen", net.JoinHostPort(host, strconv.Itoa(n)), address)
	im.carried(address, "", "heartbeats.listen")
	im.carried(port, "", "heartbeats.listen")
	if !hostGiven && !portGiven {
		im.absent(address, fmt.Sprintf("HM9000 listens on %s:%d", hm9000Host, hm9000BeatPort), "heartbeats.listen")
	}
	for _, f := range files {
		v, _ := im.text(f.name)
		im.set(f.key, v, f.name)
		im.carried(f.name, "each node needs the file at this place", f.key)
	}
}

func (im *importing) hm9000NATS() {
	const nats, ping = "nats", "nats_client_ping_interval"
	list, ok := value[[]any](im.source, nats, "a list of objects with host, port, user and password")
	var servers []natsServer
	for i, v := range list {
		if s, ok := im.hm9000Server(fmt.Sprintf("%s[%d]", nats, i), v); ok {
			servers = append(servers, s)
		}
	}
	keys := []string{"nats.servers"}
	switch {
	case len(servers) > 0:
		keys = im.setNATS(servers, nats)
	case !ok || len(list) == 0:
		im.missing("nats.servers", "the NATS servers: %s names none", nats)
	}
	im.carried(nats, "", keys...)

	n, ok := im.whole(ping, 1, 1<<31-1)
	longest := max(im.result.Config.Freshness()/2, time.Second)
	switch {
	case ok && time.Duration(n)*time.Second <= min(longest, maxPing):
		im.set("nats.ping_interval", time.Duration(n)*time.Second, ping)
		im.carried(ping, "", "nats.ping_interval")
	default:
		im.dropped(fmt.Sprintf("hm's default stays: hm must notice a dead link after two pings, within policy.freshness (%s)",
			im.result.Config.Freshness()), ping)
	}
}

// hm9000Server reads one element of nats.
func (im *importing) hm9000Server(name string, v any) (natsServer, bool) {
	o, ok := v.(object)
	if !ok {
		im.problem("nats", kindOf(v), "%s to be an object with host, port, user and password", name)
		return natsServer{}, false
	}
	s := newSource(o, true)
	host, _ := s.text("host")
	port, given := s.whole("port", 1, 1<<16-1)
	user, _ := s.text("user")
	password, _ := s.text("password")
	for _, e := range s.entries {
		switch s.canonical(e.name) {
		case "host", "port", "user", "password":
		default:
			im.warn("%s.%s: HM9000 does not read it", name, shortName(e.name))
		}
	}
	for _, p := range s.problems {
		p.Key = name + "." + p.Key
		im.problems = append(im.problems, p)
	}
	server := natsServer{host: net.JoinHostPort(host, strconv.Itoa(port)), user: user, password: password}
	if len(s.problems) > 0 {
		return server, false
	}
	_, err := limits.NATSServer(server.host)
	switch {
	case host == "":
		im.problem("nats", "", "%s.host: the host is missing", name)
	case !given:
		im.problem("nats", "", "%s.port: the port is missing", name)
	case err != nil:
		im.problem("nats", "", "%s: the address %s", name, err)
	case user == "" && password != "":
		im.problem("nats", "", "%s.user: the user is missing, and there is a password", name)
	case user != "" && password == "":
		im.problem("nats", "", "%s.password: the password is missing, and there is a user", name)
	default:
		return server, true
	}
	return server, false
}

func (im *importing) hm9000Log() {
	const level = "log_level"
	v, _ := im.text(level)
	switch v {
	case "", "INFO":
		im.set("log.level", "info", level)
	case "DEBUG":
		im.set("log.level", "debug", level)
	default:
		im.problem(level, fmt.Sprintf("%.40s", v), "INFO, DEBUG or nothing, as HM9000 takes it")
	}
	im.carried(level, "", "log.level")
}

// hm9000Rest says why hm has nothing like the other keys.
func (im *importing) hm9000Rest() {
	im.dropped("the last HM9000 did not use it",
		"sender_polling_interval_in_heartbeats", "sender_timeout_in_heartbeats", "analyzer_polling_interval_in_heartbeats",
		"analyzer_timeout_in_heartbeats", "desired_freshness_key")
	im.dropped("the last HM9000 did not use it; compat.component HM9000 and compat.varz.* serve what its metrics server served",
		"metrics_server_port", "metrics_server_user", "metrics_server_password")
	im.dropped("HM9000 itself ignored it", "store_type")
	im.dropped("only an early HM9000 used it", "desired_state_ttl_in_heartbeats", "cassandra_consistency")
	im.dropped("hm has no pass that could take too long: each page of the desired state has desired.bulk.timeout",
		"fetcher_timeout_in_heartbeats")
	im.dropped("hm keeps its record in its own log under node.data_dir, and needs no etcd",
		"store_urls", "store_schema_version", "store_max_concurrent_requests", "store_heartbeat_cache_refresh_interval_in_milliseconds",
		"shredder_polling_interval_in_heartbeats", "shredder_timeout_in_heartbeats", "actual_freshness_key",
		"etcd_require_ssl", "etcd.key_file", "etcd.cert_file", "etcd.ca_file")
	im.dropped("hm takes a heartbeat in when it arrives", "listener_heartbeat_sync_interval_in_milliseconds")
	im.dropped("hm serves its metrics at /metrics of api.listen, for Prometheus", "dropsonde_port")
	im.dropped("the nodes of hm elect a leader themselves, and need no Consul", "config_cluster")
	im.dropped("HM9000 read config_cluster instead; hm needs no Consul", "consul_cluster")
	if im.has("consul_cluster") {
		im.warn("consul_cluster: HM9000 never read this key but config_cluster, so its locks were at another Consul than the file says")
	}
}
