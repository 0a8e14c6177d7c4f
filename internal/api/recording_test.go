package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/cluster"
)

// recorded is a node whose recording has a line, and then the lines that are sent to more, until it ends.
func recorded(o api.Options, more <-chan string, ended chan<- error) api.Options {
	o.Record = func(ctx context.Context, out io.Writer, flush func() error) error {
		for line := "first\n"; ; {
			_, err := io.WriteString(out, line)
			if err := errors.Join(err, flush()); err != nil {
				ended <- err
				return err
			}
			select {
			case <-ctx.Done():
				ended <- nil
				return nil
			case line = <-more:
			}
		}
	}
	return o
}

func client(t *testing.T, base, user, password string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientOptions{Addr: base, Username: user, Password: password, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The lines of a recording come at once, beyond every time limit of ordinary answers, until the client goes away.
func TestRecordingStreams(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Username, o.Password = "amy", "secret"
	more, ended := make(chan string), make(chan error, 1)
	base := serve(t, recorded(o, more, ended))
	var p *api.Problem
	if _, err := client(t, base, "", "").Recording(t.Context()); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("without credentials: %v", err)
	}
	body, err := client(t, base, "amy", "secret").Recording(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(body)
	for _, want := range []string{"first", "second", ""} {
		if want != "first" {
			more <- want + "\n"
		}
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, %v, want %q", lines.Text(), lines.Err(), want)
		}
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("when the client is gone: %v", err)
	}
}

// A node that goes down ends its recordings at once, as complete answers: the client knows that nothing is missing.
func TestClosingEndsRecordings(t *testing.T) {
	ended := make(chan error, 1)
	s, err := api.Open(recorded(apitest.Fleet().Options(), nil, ended))
	if err != nil {
		t.Fatal(err)
	}
	body, err := client(t, "http://"+s.Addr(), "", "").Recording(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := s.Close(); err != nil {
		t.Errorf("closing with a recording under way: %v", err)
	}
	if text, err := io.ReadAll(body); err != nil || string(text) != "first\n" {
		t.Errorf("the client got %q, %v", text, err)
	}
}

// The recorded state is put into the recording with the id, or the answer says why not.
func TestRecordingState(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Username, o.Password = "amy", "secret"
	var asked []string
	o.RecordState = func(id string) bool { asked = append(asked, id); return id == "1/2" }
	base := serve(t, o)
	var p *api.Problem
	if err := client(t, base, "", "").RecordingState(t.Context(), "1/2"); !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("without credentials: %v", err)
	}
	c := client(t, base, "amy", "secret")
	if err := c.RecordingState(t.Context(), "1/2"); err != nil {
		t.Error(err)
	}
	if err := c.RecordingState(t.Context(), "3"); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("of a recording that does not exist: %v", err)
	}
	if got := strings.Join(asked, " "); got != "1/2 3" {
		t.Errorf("the node was asked for %s", got)
	}
	if err := client(t, serve(t, apitest.Fleet().Options()), "", "").RecordingState(t.Context(), "1"); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("of a node that offers no recordings: %v", err)
	}
}

func TestRecordingsAreLimited(t *testing.T) {
	base := serve(t, recorded(apitest.Fleet().Options(), nil, make(chan error, 8)))
	c := client(t, base, "", "")
	for range 4 {
		body, err := c.Recording(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
	}
	var p *api.Problem
	if _, err := c.Recording(t.Context()); !errors.As(err, &p) || p.Status != http.StatusTooManyRequests {
		t.Errorf("a fifth recording: %v", err)
	}
	if resp, _ := ask(t, "GET", serve(t, apitest.Fleet().Options())+"/v1/recording", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("of a node that offers none: %s", resp.Status)
	}
}

// The connection of a recording that fails is closed, so that its end does not look like that of the node.
func TestRecordingsThatFailAreCutOff(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Record = func(_ context.Context, out io.Writer, flush func() error) error {
		_, err := io.WriteString(out, "first\n")
		return errors.Join(err, flush(), errors.New("broken"))
	}
	body, err := client(t, serve(t, o), "", "").Recording(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it ended with %v", err)
	}
}

// The client does not wait for ever for a node that accepts the request and does not answer.
func TestRecordingOfASilentNode(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Record = func(ctx context.Context, _ io.Writer, _ func() error) error { <-ctx.Done(); return nil }
	c, err := api.NewClient(api.ClientOptions{Addr: serve(t, o), Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var gone *api.Unreachable
	if _, err := c.Recording(t.Context()); !errors.As(err, &gone) {
		t.Errorf("a node that does not answer: %v", err)
	}
}

func TestANodeThatIsNotReadyIsNotRecorded(t *testing.T) {
	w := apitest.Fleet()
	w.Lead = cluster.Leadership{}
	o := recorded(w.Options(), nil, make(chan error, 1))
	var p *api.Problem
	if _, err := client(t, serve(t, o), "", "").Recording(t.Context()); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable {
		t.Errorf("a node without a leader: %v", err)
	}
}
