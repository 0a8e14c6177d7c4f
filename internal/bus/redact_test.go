package bus

import (
	"errors"
	"strings"
	"testing"
)

// TestSecretsAreHiddenAsWholeValues: a password that is part of a word does not hide the word.
func TestSecretsAreHiddenAsWholeValues(t *testing.T) {
	for _, c := range []struct{ secret, text, want string }{
		{"hm", `Permissions Violation for Publish to "hm9000.start"`, `Permissions Violation for Publish to "hm9000.start"`},
		{"hm9000", `Permissions Violation for Publish to "hm9000.start"`, `Permissions Violation for Publish to "hm9000.start"`},
		{"start", `Permissions Violation for Publish to "hm9000.start"`, `Permissions Violation for Publish to "hm9000.start"`},
		{"a", `dial tcp 127.0.0.1:4222: connect: a, "a" and hm:a@host`, `dial tcp 127.0.0.1:4222: connect: xxxxx, "xxxxx" and hm:xxxxx@host`},
		{"4222", `dial tcp 127.0.0.1:42221`, `dial tcp 127.0.0.1:42221`},
		{"s3cret", "the token s3cret. It is s3cret", "the token xxxxx. It is xxxxx"},
		{"s3cret", "s3cret", "xxxxx"},
		{"s3cret", `password=s3cret&x`, `password=xxxxx&x`},
		{"p@ss/w%rd", `parse "nats://hm:p%40ss%2Fw%25rd@host": p@ss/w%rd`, `parse "nats://hm:xxxxx@host": xxxxx`},
		{"ää", "ääh ää hää", "ääh xxxxx hää"},
		{"aa", "aaa aa", "aaa xxxxx"},
		{"$x", "no $x or y$x", "no xxxxx or yxxxxx"},
		{"", "nothing", "nothing"},
		{"s3", "two\nlines with s3", "two: lines with xxxxx"},
	} {
		for name, l := range map[string]*Link{
			"password": {opts: Options{Password: c.secret}}, "token": {opts: Options{Token: c.secret}}, "server": {servers: []address{{password: c.secret}}},
		} {
			if got := l.redact(errors.New(c.text)); got != c.want {
				t.Errorf("%s %q: %q became %q, want %q", name, c.secret, c.text, got, c.want)
			}
		}
	}
}

func FuzzHideWhole(f *testing.F) {
	f.Add("hm9000.start", "hm")
	f.Add("a\xff.a", "\xff")
	f.Fuzz(func(t *testing.T, text, secret string) {
		if secret == "" || strings.ContainsAny(secret, "x ") {
			return
		}
		hideWhole(text, secret)
		if got := hideWhole("before "+secret+" after", secret); !strings.HasPrefix(got, "before ") || strings.Contains(got, " "+secret+" ") {
			t.Errorf("%q is still in %q", secret, got)
		}
	})
}
