package server

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/config"
)

// TestCheckKnowsEveryLimit: each key has each of many values, most of them at the edge of a limit. Whatever the
// configuration's own validation accepts, the packages that use the value must accept as well.
func TestCheckKnowsEveryLimit(t *testing.T) {
	accepted, refused := 0, 0
	for _, base := range [][]string{
		nil,
		{"raft.insecure=true"},
		{"raft.insecure=true", "raft.peers=hm-0=127.0.0.1:7140,hm-1=10.0.0.2:7140,hm-2=10.0.0.3:7140"},
		{"api.username=u", "api.password=p", "desired.bulk.username=u", "desired.bulk.password=p"},
		{"nats.username=u", "nats.password=p"},
		{"desired.source=sql", "desired.sql.driver=sqlite", "desired.sql.dsn=/var/lib/ccdb.sqlite"},
	} {
		start := configOf(t, base)
		for _, key := range config.Keys() {
			if base != nil && strings.HasPrefix(base[0], "desired.source=sql") && strings.HasPrefix(key.Name, "desired.sql.d") {
				continue // only the drivers can parse a DSN: see TestCheckParsesTheDSN
			}
			for _, text := range edgeValues(key) {
				cfg := start
				if key.SetText(&cfg, text) != nil {
					continue
				}
				if cfg.Validate() != nil {
					refused++
					continue
				}
				accepted++
				if err := Check(cfg); err != nil {
					t.Errorf("with %v, %s=%.80q: the configuration accepts it, and the start refuses it: %v", base, key.Name, text, err)
				}
			}
		}
	}
	if accepted < 1000 || refused < 1000 {
		t.Errorf("%d values were accepted and %d refused: too few to tell", accepted, refused)
	}
}

// TestCheckParsesTheDSN: the configuration cannot parse a DSN, so its check asks the driver. A file that a DSN names may
// be on another machine.
func TestCheckParsesTheDSN(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://hm@db:5432/ccdb": "",
		"postgres://hm@db:5432/ccdb?sslmode=verify-full&sslrootcert=/no/such.pem": "",
		"/var/lib/ccdb.sqlite":       "postgres DSN 1 of 1: it cannot be parsed",
		"postgres://hm:secret@db:x/": "postgres DSN 1 of 1: it cannot be parsed",
	} {
		err := Check(configOf(t, []string{"desired.source=sql", "desired.sql.dsn=" + dsn}))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: the error is %v, want one with %q and without the password", dsn, err, want)
		}
	}
}

// TestNodeOpensAtEveryLimit opens a real node in which all numbers and durations are as small as they may be, and
// another in which they are as large as they may be.
func TestNodeOpensAtEveryLimit(t *testing.T) {
	for name, last := range map[string]bool{"smallest": false, "largest": true} {
		t.Run(name, func(t *testing.T) {
			ports := bustest.FreePorts(t, 2)
			cfg := configOf(t, []string{
				"node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", ports[0]), "api.listen=127.0.0.1:0",
				fmt.Sprintf("nats.servers=nats://127.0.0.1:%d", ports[1]), "commands.mode=shadow",
			})
			changed := 0
			for _, key := range config.Keys() {
				low, high, ok := bounds(key)
				if !ok {
					continue
				}
				text := low
				if last {
					text = high
				}
				next := cfg
				if p := key.SetText(&next, text); p != nil {
					t.Fatal(p)
				}
				if next.Validate() == nil { // some limits depend on other keys
					cfg = next
					changed++
				}
			}
			if changed < 20 {
				t.Errorf("only %d keys are at their limits", changed)
			}
			n, err := Open(cfg, Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// bounds gives the smallest and the largest value of a number or a duration, as the documentation of the key has them.
func bounds(key config.Key) (low, high string, ok bool) {
	_, both, ok := strings.Cut(key.Want(), " from ")
	if !ok || key.Type() != "number" && key.Type() != "duration" && key.Type() != "share" {
		return "", "", false
	}
	return strings.Cut(both, " to ")
}

// edgeValues gives values of a key that are at the edge of what is allowed, or strange.
func edgeValues(key config.Key) (texts []string) {
	low, high, _ := bounds(key)
	switch key.Type() {
	case "number":
		for _, bound := range []string{low, high} {
			n, _ := strconv.Atoi(bound)
			texts = append(texts, strconv.Itoa(n-1), bound, strconv.Itoa(n+1))
		}
		return append(texts, "-1", "0", "1", "7")
	case "duration":
		for _, bound := range []string{low, high} {
			d, _ := time.ParseDuration(bound)
			texts = append(texts, (d - 1).String(), bound, (d + 1).String(), (d * 7 / 10).String())
		}
		return append(texts, "0s", "-1s", "7ms", "100ms", "250ms", "1s")
	case "share":
		return []string{"-0.1", "0", "0.5", "1", "1.1", "NaN", "Inf"}
	case "switch":
		return []string{"true", "false"}
	}
	texts = []string{
		"", " ", "a", "A-b_c.d", ".", "..", "a b", "a:b", "a/b", "a=b", "ü", "\x00", "auto", "v2", "v3", "postgres", "mysql", "sqlite",
		"127.0.0.1", ":7140", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:7140", "127.0.0.1:007140", "127.0.0.1:65535", "127.0.0.1:65536", "127.0.0.1:x",
		"0.0.0.0:7140", "[::]:7140", "[::1]:7140", "[::1%lo]:7140", "[::ffff:127.0.0.1]:7140", "localhost:7140", "LOCALHOST:7140", "10.0.0.1:7140", "a b:1", "a/b:1",
		"http://h", "https://h:1/base", "http://", "HTTP://h", "http://h:99999", "http://u:p@h", "http://h?a=b", "http://h#a", "ftp://h",
		"nats://h", "NATS://h:1", "tls://h:1", "ws://h:80", "wss://h", "nats://h/x", "nats://h/", "nats://h?x", "nats://u:p@h", "nats://t@h",
		"nats://u:%zz@h", "nats://h:0", "nats://h:65535", "nats://h:65536", "nats://a,nats://b", "nats://a,", "nats://", "u:p@h:1", "h", "h:1 ",
		"hm-0=127.0.0.1:7140", "hm-0=127.0.0.1:7140,hm-1=127.0.0.1:7141", "hm-0=127.0.0.1:7140,hm-1=127.0.0.1:7141,hm-2=127.0.0.1:7142",
		"hm-0=127.0.0.1:7140,a b=127.0.0.1:7141,hm-2=127.0.0.1:7142", "hm-0=127.0.0.1:7140,hm-1=0.0.0.0:7141,hm-2=127.0.0.1:7142",
		"hm-0=127.0.0.1:7140,hm-0=127.0.0.1:7141,hm-2=127.0.0.1:7142", "hm-0=127.0.0.1:7140,hm-1=LOCALHOST:7141,hm-2=[::1]:7142",
	}
	for _, n := range []int{63, 64, 65, 255, 256, 1024, 1025, 4096, 4097} {
		texts = append(texts, strings.Repeat("a", n))
	}
	return texts
}
