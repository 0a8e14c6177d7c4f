package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"hm/internal/api/apitest"
	"hm/internal/bus/bustest"
)

// TestProfiles: a node with api.pprof serves profiles, to those who have the password, and one at a time.
func TestProfiles(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Pprof, o.Username, o.Password = true, "ops", "secret"
	base := serve(t, o)
	login := []string{"Authorization", "Basic b3BzOnNlY3JldA=="}
	if code, raw := ask(t, "GET", base+"/debug/pprof/heap", ""); code.StatusCode != 401 || !strings.Contains(string(raw), "unauthorized") {
		t.Errorf("without the password: %d %s", code.StatusCode, raw)
	}
	if resp, raw := ask(t, "GET", base+"/debug/pprof/", "", login...); resp.StatusCode != 200 || !strings.Contains(string(raw), "goroutine") {
		t.Errorf("the list of profiles: %d %s", resp.StatusCode, raw)
	}
	for _, name := range []string{"heap", "goroutine", "profile?seconds=1"} {
		resp, raw := ask(t, "GET", base+"/debug/pprof/"+name, "", login...)
		unzipped, err := gzip.NewReader(bytes.NewReader(raw))
		if resp.StatusCode != 200 || err != nil {
			t.Errorf("%s: %d, %v", name, resp.StatusCode, err)
		} else if profile, err := io.ReadAll(unzipped); err != nil || len(profile) == 0 {
			t.Errorf("%s: a profile of %d bytes, %v", name, len(profile), err)
		}
	}
	for path, want := range map[string]int{
		"/debug/pprof/nothing": 404, "/debug/pprof/cmdline": 404, "/debug/pprof/heap?seconds=51": 400, "/debug/pprof/profile?seconds=x": 400,
	} {
		if resp, raw := ask(t, "GET", base+path, "", login...); resp.StatusCode != want || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s: %d %s, want a problem with %d", path, resp.StatusCode, raw, want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() { // it ends when the client goes away, or at once, if a question below came before it
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, "GET", base+"/debug/pprof/profile?seconds=50", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set(login[0], login[1])
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	busy := func(want bool) func() bool {
		return func() bool {
			resp, _ := ask(t, "GET", base+"/debug/pprof/goroutine", "", login...)
			return (resp.StatusCode == http.StatusTooManyRequests) == want
		}
	}
	bustest.Until(t, "a second profile is refused", busy(true))
	cancel()
	first.Wait()
	bustest.Until(t, "the next one is taken", busy(false))
}

// TestNoProfilesUnlessAsked: without api.pprof there are no profiles.
func TestNoProfilesUnlessAsked(t *testing.T) {
	if resp, _ := ask(t, "GET", serve(t, apitest.Fleet().Options())+"/debug/pprof/heap", ""); resp.StatusCode != 404 {
		t.Errorf("the answer is %d, want 404", resp.StatusCode)
	}
}

// TestProfilesOnLoopbackOnly: profiles beyond loopback are refused, even with a password.
func TestProfilesOnLoopbackOnly(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Pprof, o.Username, o.Password, o.Listen = true, "ops", "secret", "0.0.0.0:0"
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "api.pprof") {
		t.Errorf("the options are accepted, or refused for another reason: %v", err)
	}
}
