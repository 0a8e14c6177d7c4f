package bus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenRefusesBadOptions(t *testing.T) {
	good := []string{"127.0.0.1:4222"}
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no server", Options{}, "nats.servers is empty"},
		{"empty server (W27)", Options{Servers: []string{"127.0.0.1:4222", ""}}, "number 2 is empty"},
		{"bad scheme", Options{Servers: []string{"http://secret-x@h:1"}}, "must begin with nats://"},
		{"no host", Options{Servers: []string{"nats://secret-x@:4222"}}, "must name one host"},
		{"two in one", Options{Servers: []string{"nats://a,b:4222"}}, "must name one host"},
		{"slash in the password", Options{Servers: []string{"nats://u:secret-x/y@h:4222"}}, "percent-encoded"},
		{"hash in the password", Options{Servers: []string{"nats://u:123#secret-x@h:4222"}}, "percent-encoded"},
		{"question mark in the password", Options{Servers: []string{"nats://u:123?secret-x@h:4222"}},
			"percent-encoded"},
		{"per cent in the password", Options{Servers: []string{"nats://u:%secret-x@h:4222"}}, "percent-encoded"},
		{"password alone", Options{Servers: good, Password: "secret-x"}, "nats.username is not"},
		{"two ways", Options{Servers: good, Username: "u", Token: "secret-x"}, "exclude each other"},
		{"creds missing", Options{Servers: good, Creds: "/does/not/exist"}, "nats.creds"},
		{"cert without key", Options{Servers: good, TLS: TLS{Cert: notPEM}}, "nats.tls.key is missing"},
		{"bad cert", Options{Servers: good, TLS: TLS{Cert: notPEM, Key: notPEM}}, "nats.tls.cert "},
		{"bad ca", Options{Servers: good, TLS: TLS{CA: notPEM}}, "PEM certificates"},
		{"ca missing", Options{Servers: good, TLS: TLS{CA: "/does/not/exist"}}, "nats.tls.ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Open(c.o)
			if err == nil {
				l.Close()
				t.Fatal("Open accepted the options")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-x") {
				t.Errorf("error %q, want one with %q and no secret", err, c.want)
			}
		})
	}
}

func TestParseServerShowsNoUser(t *testing.T) {
	for in, want := range map[string]address{
		"host":                        {"nats://host:4222", "host:4222", ""},
		" 10.0.0.1:5000 ":             {"nats://10.0.0.1:5000", "10.0.0.1:5000", ""},
		"tls://[::1]:1/":              {"tls://[::1]:1", "[::1]:1", ""},
		"nats://u:p%40@h":             {"nats://u:p%40@h:4222", "h:4222", "p@"},
		"nats://t0ken@h:4222":         {"nats://t0ken@h:4222", "h:4222", "t0ken"},
		"NATS://nats.service.cf:4222": {"nats://nats.service.cf:4222", "nats.service.cf:4222", ""},
	} {
		got, err := parseServer(in)
		if err != nil || got != want {
			t.Errorf("parseServer(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestBackoffStaysBounded(t *testing.T) {
	var b backoff
	if d := b.next(); d != 0 {
		t.Errorf("the first round waits %v", d)
	}
	for i := range 100 {
		if d := b.next(); d < minWait/2 || d > maxWait {
			t.Errorf("round %d waits %v", i+2, d)
		}
	}
	b.reset()
	if d := b.next() + b.next(); d > minWait {
		t.Errorf("after a reset the second round waits %v", d)
	}
	if maxWait > 2*time.Second {
		t.Error("maxWait is more than 2 s")
	}
}
