package configimport

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"hm/internal/config"
	"hm/internal/config/limits"
)

// rubyPeriod is the heartbeat period that the seconds of HealthManager 2.0 are converted with. Its configuration does
// not name the period of the DEAs.
const rubyPeriod = 10 * time.Second

// FromRuby makes hm's configuration from HealthManager 2.0's YAML. The error lists every problem with it.
func FromRuby(data []byte) (Import, error) {
	top, err := decodeYAML(data)
	if err != nil {
		return Import{}, err
	}
	im := newImporting("HealthManager", newSource(top, false, "logging", "bulk_api", "status", "intervals"))
	im.rubyBus()
	im.rubyBulk()
	im.rubyStatus()
	im.rubyIntervals()
	im.rubyQueue()
	im.rubyRest()
	return im.finish()
}

func (im *importing) rubyBus() {
	const mbus = "mbus"
	keys := []string{"nats.servers"}
	if address, ok := im.text(mbus); ok && address != "" {
		if s, ok := im.rubyServer(mbus, address); ok {
			keys = im.setNATS([]natsServer{s}, mbus)
		}
	} else {
		im.missing("nats.servers", "the NATS server: %s is not in the file", mbus)
	}
	im.carried(mbus, "the environment variable MBUS_URI was stronger: look whether the old job sets it", keys...)
	im.set("commands.protocol", config.ProtocolHealth, mbus)
	im.absent("the protocol of commands", "HealthManager sends health.start and health.stop", "commands.protocol")
}

// rubyServer takes the URI of the bus apart.
func (im *importing) rubyServer(name, address string) (natsServer, bool) {
	u, err := limits.NATSServer(address)
	if err != nil {
		im.problem(name, "", "the address %s", err)
		return natsServer{}, false
	}
	s := natsServer{host: u.Host, tls: u.Scheme == "tls"}
	if u.User == nil {
		return s, true
	}
	user := u.User.Username()
	password, both := u.User.Password()
	switch {
	case !both:
		s.token = user
	case user == "" || password == "":
		im.problem(name, "", "a user with a password, user:password@, or neither")
		return s, false
	default:
		s.user, s.password = user, password
	}
	if strings.Contains(u.User.String(), "%") {
		im.warn("%s: user or password has special characters; hm takes %% for percent-encoding: check nats.username and nats.password", name)
	}
	return s, true
}

func (im *importing) rubyBulk() {
	const host, batch, partition = "bulk_api.host", "bulk_api.batch_size", "cc_partition"
	note := ""
	if base, ok := im.text(host); ok && base != "" {
		if !strings.Contains(base, "://") {
			note = "http:// was added, as HealthManager did"
		}
		im.bulkURL(host, base)
	} else {
		im.missing("desired.bulk.url", "the base URL of the Cloud Controller: %s is not in the file", host)
	}
	im.carried(host, note, "desired.bulk.url")
	if e, ok := im.find(batch); ok {
		if text, isText := e.value.(string); isText { // it is quoted in the sample
			if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32); err == nil {
				im.replace(batch, n)
			}
		}
	}
	if n, ok := im.whole(batch, 1, 1<<31-1); ok {
		im.setNear(batch, "desired.bulk.batch_size", n, 1, maxBatch, "")
	} else {
		im.carried(batch, "", "desired.bulk.batch_size")
	}
	if v, ok := im.text(partition); ok {
		im.set("desired.partition", v, partition)
	}
	im.carried(partition, "hm asks for the credentials of the bulk API over NATS, as HealthManager did", "desired.partition")
}

func (im *importing) rubyStatus() {
	const port, user, password, route = "status.port", "status.user", "status.password", "local_route"
	n, listens := im.whole(port, 1, 1<<16-1)
	if !listens {
		im.dropped("HealthManager took any port; hm serves /varz only on one that you choose, with compat.varz.listen", port, user, password)
		im.dropped("it chose the address of /varz", route)
		return
	}
	host, routeNote := "0.0.0.0", "hm serves /varz on all addresses of the machine: name one in compat.varz.listen"
	if v, ok := im.text(route); ok {
		if limits.Loopback(net.JoinHostPort(v, "1")) {
			host, routeNote = v, "/varz stays on loopback"
		}
	}
	im.set("compat.varz.listen", net.JoinHostPort(host, strconv.Itoa(n)), port)
	im.set("compat.component", "HealthManager", port)
	im.carried(port, "", "compat.varz.listen", "compat.component")
	if im.has(route) {
		im.carried(route, routeNote, "compat.varz.listen")
	}
	name, _ := im.text(user)
	secret, _ := im.text(password)
	if name == "" || secret == "" {
		im.dropped("HealthManager makes up what is missing of the two; hm makes up both", user, password)
		return
	}
	im.set("compat.varz.username", name, user)
	im.set("compat.varz.password", secret, password)
	im.carried(user, "", "compat.varz.username")
	im.carried(password, "", "compat.varz.password")
}

func (im *importing) rubyIntervals() {
	im.seconds("desired_state_update", "desired.poll_interval", 1, "")
	im.seconds("droplet_lost", "policy.heartbeat_ttl", 2, "hm starts a missing instance policy.grace later")
	im.seconds("max_restart_delay", "policy.backoff_max", 1, "")
	im.seconds("min_restart_delay", "policy.backoff_start", 1, "")
	if p := im.result.Config.Policy; p.BackoffStart > p.BackoffMax {
		im.set("policy.backoff_start", p.BackoffMax, "intervals.min_restart_delay")
		im.carried("intervals.min_restart_delay", "at most policy.backoff_max", "policy.backoff_start")
	}
	const death = "intervals.flapping_death"
	if n, ok := im.whole(death, 0, 1<<31-1); ok {
		im.setNear(death, "policy.crashes_before_backoff", n, 0, maxCrashes, "so many crashes are restarted at once")
	} else {
		im.carried(death, "", "policy.crashes_before_backoff")
	}
	if d := im.result.Config.Desired; d.TTL <= d.PollInterval {
		ttl := min(2*d.PollInterval, maxBeats)
		im.set("desired.ttl", ttl, "intervals.desired_state_update")
		im.absent("the age of the desired state", "twice desired.poll_interval, since hm needs more than that", "desired.ttl")
	}
}

// seconds carries over an interval in seconds as heartbeats, rounded up.
func (im *importing) seconds(interval, key string, least int, note string) {
	name := "intervals." + interval
	n, ok := im.interval(name)
	if !ok {
		im.carried(name, note, key)
		return
	}
	period := rubyPeriod.Seconds()
	beats := math.Ceil(n / period)
	if beats*period != n {
		note = joinNotes(fmt.Sprintf("rounded up to heartbeats of %s", rubyPeriod), note)
	}
	im.setNear(name, key, int(min(beats, 1<<30)), least, maxBeats, note)
}

// interval gives a number of seconds. It need not be whole.
func (im *importing) interval(name string) (float64, bool) {
	e, ok := im.find(name)
	if !ok || e.value == nil {
		return 0, false
	}
	n, isNumber := number(e.value)
	if !isNumber || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		im.problem(name, shownNumber(e.value), "a number of seconds")
		return 0, false
	}
	return n, true
}

// rubyQueue makes the limit of starts from the queue that HealthManager sends them from. Its stops pass the queue by.
func (im *importing) rubyQueue() {
	const batch, period = "intervals.queue_batch_size", "intervals.request_queue"
	n, sized := im.whole(batch, 1, 1<<31-1)
	every, timed := im.interval(period)
	if !sized {
		n = 40
	}
	if !timed {
		every = 1
	}
	note := "so many starts in a heartbeat is HealthManager's rate; hm's default is 60"
	if !sized && !timed {
		note = ""
	}
	if note != "" {
		rate := maxStarts
		if every > 0 {
			rate = int(min(max(math.Ceil(float64(n)*rubyPeriod.Seconds()/every), 1), maxStarts))
		}
		im.set("policy.start_limit", rate, batch)
	}
	im.carried(batch, note, "policy.start_limit")
	im.carried(period, note, "policy.start_limit")
}

// rubyRest says why hm has nothing like the other keys.
func (im *importing) rubyRest() {
	const level = "logging.level"
	if v, ok := im.text(level); ok {
		to, known := map[string]string{
			"off": "error", "fatal": "error", "error": "error", "warn": "warn", "info": "info",
			"debug": "debug", "debug1": "debug", "debug2": "debug", "all": "debug",
		}[strings.ToLower(v)]
		if known {
			im.set("log.level", to, level)
		} else {
			im.problem(level, fmt.Sprintf("%.40s", v), "one of off, fatal, error, warn, info, debug, debug1, debug2, all")
		}
	}
	im.carried(level, "the environment variable LOG_LEVEL was stronger", "log.level")
	im.dropped("hm logs to standard error", "logging.file", "logging.syslog")
	im.dropped("a node of hm is the component of its place in raft.peers", "index")
	im.dropped("hm does not go into the background, and writes no such file", "pid")
	im.dropped("hm judges what has changed at once, and everything in each pass",
		"number_of_droplets_analyzed_per_analysis_iteration", "intervals.droplets_analysis")
	im.dropped("hm has no such mode: it keeps true time", "black_box_test_mode")
	if v, _ := im.truth("black_box_test_mode"); v {
		im.warn("black_box_test_mode: this is the configuration of a test, not of a system at work")
	}
	im.dropped("an app that a complete read does not name is undesired for hm at once; guard.desired_shrink holds back a read that lost many",
		"intervals.desired_state_lost")
	im.dropped("hm limits the wait for the credentials itself", "intervals.bulk_credentials_timeout")
	im.dropped("hm has no such timers", "intervals.run_loop_interval")
	im.dropped("hm forgets the crashes of an index step by step while it runs well", "intervals.flapping_timeout")
	im.dropped("hm never gives an index up: it starts it again each policy.backoff_max", "intervals.giveup_crash_number")
	im.dropped("hm spreads starts by policy.start_limit instead", "intervals.delay_time_noise")
	im.dropped("hm forgets an app when it is neither desired nor heard of", "intervals.droplet_gc_grace_period", "intervals.droplet_gc")
	im.dropped("an earlier HealthManager read it; the last one has intervals.queue_batch_size", "queue_batch_size", "dequeueing_rate")
	im.dropped("an earlier HealthManager read the database itself; hm can, too: desired.source sql",
		"database_environment", "rails_environment", "intervals.database_scan")
	im.dropped("HealthManager did not use it", "intervals.analysis_delay", "intervals.postpone_update",
		"intervals.check_nats_availability", "intervals.expected_state_update", "intervals.restart_timeout", "intervals.stable_state",
		"intervals.heartbeat_deadline", "intervals.desired_state_update_deadline")
}

// replace changes the value of a key that is there.
func (s *source) replace(name string, value any) {
	for i := range s.entries {
		if s.canonical(s.entries[i].name) == s.canonical(name) {
			s.entries[i].value = value
		}
	}
}
