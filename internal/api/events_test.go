package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/journal"
)

// happened adds n events, one an entry, from the entry first on.
func happened(h *apitest.History, first, n int) {
	for i := range n {
		h.Add(journal.Event{
			ID: journal.ID{Position: journal.Position{Index: uint64(first + i)}}, At: apitest.Start, Kind: journal.DEALost, Index: -1,
			DEA: "dea-" + strconv.Itoa(first+i),
		})
	}
}

// stream begins a stream of events that ends with the test.
func stream(t *testing.T, url string, headers ...string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// lines reads the next n lines that are not empty.
func lines(t *testing.T, s *bufio.Scanner, n int) (out []string) {
	t.Helper()
	for len(out) < n && s.Scan() {
		if s.Text() != "" {
			out = append(out, s.Text())
		}
	}
	if len(out) < n {
		t.Fatalf("the stream ended after %q: %v", out, s.Err())
	}
	return out
}

func TestEventsAreStreamedAsTheyHappen(t *testing.T) {
	n := apitest.New()
	happened(n.History, 1, 3)
	base := serve(t, n.Options())
	resp, s := stream(t, base+"/v1/events")
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" || resp.Header.Get("X-Hm-Node") != "hm-1" {
		t.Fatalf("%d %s %v", resp.StatusCode, got, resp.Header)
	}
	want := []string{"retry: 1000", ": nothing new", "id: 3.0"} // a new client begins at the end, and knows where that is
	if got := lines(t, s, 3); !slices.Equal(got, want) {
		t.Fatalf("the stream begins with %q, want %q", got, want)
	}
	happened(n.History, 4, 1)
	want = []string{"id: 4.0", "event: dea.lost", `data: {"id":"4.0","at":"2023-11-14T23:13:20.000Z","kind":"dea.lost","dea":"dea-4"}`}
	if got := lines(t, s, 3); !slices.Equal(got, want) {
		t.Errorf("an event is streamed as %q, want %q", got, want)
	}
}

// TestEventsGoOnAfterTheLastEventID: the header counts more than the address, which a client repeats when it reconnects.
func TestEventsGoOnAfterTheLastEventID(t *testing.T) {
	n := apitest.New()
	happened(n.History, 1, 2000)
	base := serve(t, n.Options())
	_, s := stream(t, base+"/v1/events?since=1h&after=1700.0", "Last-Event-ID", "700.0")
	lines(t, s, 1)
	for i := 701; i <= 2000; i++ {
		if got := lines(t, s, 3)[0]; got != fmt.Sprintf("id: %d.0", i) {
			t.Fatalf("%s, want that of event %d", got, i)
		}
	}
	_, s = stream(t, base+"/v1/events?after=2005.0") // from a node that is ahead of this one
	lines(t, s, 3)
	happened(n.History, 2001, 10)
	if got := lines(t, s, 3)[0]; got != "id: 2006.0" {
		t.Errorf("%s, want that of event 2006", got)
	}
	_, s = stream(t, base+"/v1/events?limit=2&kind=dea") // like tail -n 2 -f
	if got := lines(t, s, 9); got[1] != "id: 2009.0" || got[4] != "id: 2010.0" || got[8] != "id: 2010.0" {
		t.Errorf("the newest two are %q", got)
	}
	if resp, raw := ask(t, "GET", base+"/v1/events?limit=2&since=1h", ""); resp.StatusCode != 400 {
		t.Errorf("a limited stream since a time gives %d %s", resp.StatusCode, raw)
	}
	resp, raw := ask(t, "GET", base+"/v1/events?follow=false&limit=3", "", "Accept", "text/event-stream")
	if resp.StatusCode != 200 || strings.Count(string(raw), "\nevent: dea.lost\n") != 3 || !strings.Contains(string(raw), "id: 2008.0\n") {
		t.Errorf("a stream that does not follow: %d %s", resp.StatusCode, raw)
	}
}

// TestAQuietStreamKeepsItsPlace: events that a client did not ask for move its place, too, so that it need not begin far
// back.
func TestAQuietStreamKeepsItsPlace(t *testing.T) {
	api.SetEventPatience(t, time.Minute, 20*time.Millisecond)
	n := apitest.New()
	base := serve(t, n.Options())
	_, s := stream(t, base+"/v1/events?kind=hold")
	lines(t, s, 3)
	happened(n.History, 1, 5)
	for {
		if got := lines(t, s, 2); got[1] == "id: 5.0" {
			return
		}
	}
}

func TestAStreamOfASlowClientEnds(t *testing.T) {
	api.SetEventPatience(t, 50*time.Millisecond, time.Minute)
	n := apitest.New()
	for i := range 1_000 {
		n.History.Add(journal.Event{ID: journal.ID{Position: journal.Position{Index: uint64(i + 1)}}, Kind: journal.DEALost, DEA: strings.Repeat("x", 20_000)})
	}
	s, err := api.Open(n.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	resp, _ := stream(t, "http://"+s.Addr()+"/v1/events?after=0.0") // it reads nothing
	for deadline := time.Now().Add(30 * time.Second); s.Followers() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream goes on though its client reads nothing")
		}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("a stream that was cut ends like a whole one")
	}
}

func TestStreamsAreBoundedAndEndWithTheNode(t *testing.T) {
	n := apitest.New()
	s, err := api.Open(n.Options())
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr()
	var bodies []*bufio.Scanner
	for range api.MaxFollowers {
		_, body := stream(t, base+"/v1/events")
		lines(t, body, 3)
		bodies = append(bodies, body)
	}
	resp, raw := ask(t, "GET", base+"/v1/events", "")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("one more stream gives %d %s", resp.StatusCode, raw)
	}
	if resp, _ := ask(t, "GET", base+"/v1/events", "", "Accept", "application/json"); resp.StatusCode != 200 {
		t.Errorf("a list gives %d while many follow", resp.StatusCode)
	}
	if err := s.Close(); err != nil { // it would say that the requests did not end in time
		t.Error(err)
	}
	for _, b := range bodies {
		for b.Scan() {
		}
	}
}

func TestEventsNeedTheCredentials(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Username, o.Password = "amy", "secret"
	base := serve(t, o)
	if resp, _ := ask(t, "GET", base+"/v1/events", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %d", resp.StatusCode)
	}
	c, err := api.NewClient(api.ClientOptions{Addr: base, Username: "amy", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := c.Events(t.Context(), api.EventQuery{Kinds: []string{"command", "dea.lost"}, App: "a0000001", Since: "2023-11-14T23:13:45Z"}, 1)
	if err != nil || len(l.Items) != 1 || l.Items[0].Kind != "command.confirmed" || !l.More || l.LastID != "7.0" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestAHistoryThatCannotBeReadIsAProblem(t *testing.T) {
	n := apitest.New()
	base := serve(t, n.Options())
	_, s := stream(t, base+"/v1/events")
	lines(t, s, 3)
	n.History.Fail(fmt.Errorf("%w: the disk is gone", journal.ErrUnavailable))
	for s.Scan() {
	}
	for _, accept := range []string{"application/json", "text/event-stream"} {
		resp, raw := ask(t, "GET", base+"/v1/events", "", "Accept", accept)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(raw), "urn:hm:problem:no-history") {
			t.Errorf("%d %s", resp.StatusCode, raw)
		}
	}
	o := apitest.New().Options() // of another node: two servers of one node would close the same listener
	o.Journal = nil
	if resp, raw := ask(t, "GET", serve(t, o)+"/v1/events", ""); resp.StatusCode != 404 {
		t.Errorf("a node without a history: %d %s", resp.StatusCode, raw)
	}
}

// TestTheClientFollowsEvents: the client gives the place with which another node goes on.
func TestTheClientFollowsEvents(t *testing.T) {
	n := apitest.New()
	happened(n.History, 1, 7)
	c, err := api.NewClient(api.ClientOptions{Addr: serve(t, n.Options())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	enough := errors.New("enough")
	var got []string
	after, err := c.FollowEvents(t.Context(), api.EventQuery{}, "3.0", func(e api.Event) error {
		if e.DEA == "dea-7" {
			return enough
		}
		got = append(got, e.DEA)
		return nil
	})
	if !errors.Is(err, enough) || after != "6.0" || !slices.Equal(got, []string{"dea-4", "dea-5", "dea-6"}) {
		t.Errorf("%v, up to %s, %v", got, after, err)
	}
	n.History.Fail(errors.New("the disk is gone"))
	if after, err = c.FollowEvents(t.Context(), api.EventQuery{}, after, nil); after != "6.0" || err == nil {
		t.Errorf("up to %s, %v", after, err)
	}
}
