package dashboard

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"testing"
	"time"
)

func page(text string) func() *rendered {
	return func() *rendered { return &rendered{live: template.HTML(text)} }
}

// TestCacheIsBounded asks for far more pages, and larger ones, than are kept.
func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	large := strings.Repeat("x", 1<<20)
	for i := range 10 * cachedPages {
		text := "small"
		if i%3 == 0 {
			text = large
		}
		if _, err := c.get(t.Context(), fmt.Sprint(i), page(text)); err != nil {
			t.Fatal(err)
		}
		if len(c.pages) > cachedPages || c.bytes > cachedBytes {
			t.Fatalf("%d pages with %d bytes are kept", len(c.pages), c.bytes)
		}
	}
	if _, err := c.get(t.Context(), "huge", page(strings.Repeat("x", cachedBytes+1))); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, e := range c.pages {
		sum += e.size()
	}
	if sum != c.bytes || c.bytes > cachedBytes {
		t.Errorf("%d bytes are kept, %d are counted", sum, c.bytes)
	}
}

// TestCacheMakesAPageOnce: requests that come while a page is made wait for it. One that goes away does not take the
// page along. A change makes it anew.
func TestCacheMakesAPageOnce(t *testing.T) {
	c := newCache()
	made, release := make(chan int, 10), make(chan struct{})
	render := func() *rendered {
		made <- 1
		<-release
		return &rendered{live: "x"}
	}
	gone, cancel := context.WithCancel(t.Context())
	first := make(chan error, 10)
	go func() {
		_, err := c.get(gone, "a", render)
		first <- err
	}()
	<-made
	for range 5 {
		go func() {
			_, err := c.get(t.Context(), "a", render)
			first <- err
		}()
	}
	waiting, cancelWaiting := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelWaiting()
	if _, err := c.get(waiting, "a", render); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that gave up: %v", err)
	}
	cancel() // the request that makes the page goes away
	close(release)
	for range 6 {
		if err := <-first; err != nil {
			t.Error(err)
		}
	}
	if n := len(made); n > 1 {
		t.Errorf("the page was made %d times more, want once by the next request", n)
	}
	c.changed()
	before := len(made)
	if _, err := c.get(t.Context(), "a", render); err != nil || len(made) != before+1 {
		t.Errorf("after a change the page was made %d times, %v", len(made)-before, err)
	}
}
