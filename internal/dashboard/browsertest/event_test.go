//go:build !race

package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"hm/internal/api/apitest"
	"hm/internal/journal"
)

// TestPageIsFromAfterAnEvent: a node keeps a page for a second. A page that renews itself after an event asks again if the
// node gives one that it made before the event; it does not wait for its next turn, which is ten seconds away here.
func TestPageIsFromAfterAnEvent(t *testing.T) {
	node, err := url.Parse(serve(t, apitest.WithUnreadable()))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var made []time.Time // when the pages that the script got were begun
	proxy := httputil.NewSingleHostReverseProxy(node)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Header.Get("Hm-Part") == "live" {
			age, err := strconv.Atoi(r.Header.Get("Hm-Age"))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, time.Now().Add(-time.Duration(age)*time.Millisecond))
		}
		return nil
	}
	event := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("/v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-event:
				fmt.Fprintf(w, "event: %s\ndata: {}\n\n", journal.CommandConfirmed)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	b := openTab(t, server.URL, desktop)
	b.visit("/apps")
	loaded := time.Now()
	select {
	case event <- struct{}{}:
	case <-time.After(tabDeadline):
		t.Fatal("the page does not follow the events")
	}
	heard := time.Now()
	if heard.Sub(loaded) > time.Second/2 {
		t.Logf("the page followed the events only after %v: its first answer may be a new one", heard.Sub(loaded))
	}
	b.awaitUntil("a page from after the event", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(made) > 0 && made[len(made)-1].After(heard)
	})
	if took := time.Since(heard); took > 5*time.Second {
		t.Errorf("the page is from after the event only after %v", took)
	}
}
