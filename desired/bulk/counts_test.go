package bulk

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// counts has the controller answer the question for counts, and nothing else, with a body.
func counts(body string) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		user, password, _ := r.BasicAuth()
		if r.URL.Path != "/bulk/counts" {
			return false
		}
		if r.URL.RawQuery != "model=user" || user != "u" || password != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		io.WriteString(w, body)
		return true
	}
}

// N44: how many users there are, with the credentials of the reads.
func TestUsers(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         int
		err          string
	}{
		{"N44", `{"counts":{"user":4711}}`, 4711, ""},
		{"more members", `{"counts":{"user":0,"app":7},"at":"now"}`, 0, ""},
		{"no user", `{"counts":{}}`, 0, "no counts.user"},
		{"null", `{"counts":{"user":null}}`, 0, "no counts.user"},
		{"text", `{"counts":{"user":"7"}}`, 0, `is not {"counts"`},
		{"fraction", `{"counts":{"user":7.5}}`, 0, `is not {"counts"`},
		{"negative", `{"counts":{"user":-1}}`, 0, "no number of users"},
		{"too many", `{"counts":{"user":2147483648}}`, 0, "no number of users"},
		{"empty", ``, 0, "empty body"},
		{"html", `<html>`, 0, "<html>"},
		{"two values", `{"counts":{"user":1}}{}`, 0, `is not {"counts"`},
		{"endless", `{"counts":{"user":1},"x":"` + strings.Repeat("x", maxCountsBytes) + `"}`, 0, "more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cc := &controller{instead: counts(c.answer)}
			got, err := cc.serve(t, Options{Username: "u", Password: "p"}).Users(t.Context())
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Errorf("%d, %v; want %d", got, err, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("the error is %v, want one with %q", err, c.err)
			case err != nil && !strings.Contains(err.Error(), "ask http://127.0.0.1:"):
				t.Errorf("the error does not say what was asked: %v", err)
			}
		})
	}
}

// A question for users runs beside a read that hangs, and its failures are no failures of reads.
func TestUsersBesideAReadThatHangs(t *testing.T) {
	users := counts(`{"counts":{"user":12}}`)
	hangs := make(chan struct{})
	cc := &controller{instead: func(w http.ResponseWriter, r *http.Request, n int) bool {
		if users(w, r, n) {
			return true
		}
		close(hangs)
		<-r.Context().Done()
		return true
	}}
	s := cc.serve(t, Options{Username: "u", Password: "p", Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Read(ctx)
		ended <- err
	}()
	<-hangs
	if n, err := s.Users(t.Context()); err != nil || n != 12 {
		t.Errorf("%d users, %v; want 12", n, err)
	}
	cancel()
	if err := <-ended; kindOf(err) != Canceled {
		t.Errorf("the read ended with %v", err)
	}
	cc.change(func(cc *controller) { cc.instead = counts("no") })
	before := s.Stats()
	if _, err := s.Users(t.Context()); err == nil {
		t.Error("a bad answer was accepted")
	}
	if after := s.Stats(); after.Failures != before.Failures {
		t.Errorf("%d failed reads, before %d", after.Failures, before.Failures)
	}
}

// Credentials that were refused are asked for again at the next question.
func TestUsersAskForCredentialsAgain(t *testing.T) {
	cc := &controller{instead: counts(`{"counts":{"user":3}}`)}
	asked := 0
	s := cc.serve(t, Options{Credentials: func(context.Context) (string, string, error) {
		if asked++; asked == 1 {
			return "old", "old", nil
		}
		return "u", "p", nil
	}})
	if _, err := s.Users(t.Context()); err == nil || !strings.Contains(err.Error(), "unauthorized") {
		t.Errorf("with old credentials: %v", err)
	}
	for range 2 {
		if n, err := s.Users(t.Context()); err != nil || n != 3 {
			t.Errorf("%d users, %v; want 3", n, err)
		}
	}
	if asked != 2 {
		t.Errorf("credentials were asked for %d times, want 2", asked)
	}
}

func FuzzUsers(f *testing.F) {
	for _, seed := range []string{`{"counts":{"user":7}}`, `{"counts":null}`, `{"counts":{"user":1e3}}`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		n, err := parseUsers(answer)
		if err == nil && n < 0 || err != nil && len(err.Error()) > 5*maxQuoted {
			t.Errorf("%d, %v", n, err)
		}
	})
}
