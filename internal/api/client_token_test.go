package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"hm/internal/api"
)

// TestClientShowsItsToken: whatever the client asks for, it shows its token, and not the password beside it.
func TestClientShowsItsToken(t *testing.T) {
	shown := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	c, err := api.NewClient(api.ClientOptions{Addr: server.URL, Username: "u", Password: "p", Token: "the-token"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, ask := range map[string]func(context.Context) error{
		"status": func(ctx context.Context) error { _, _, err := c.Status(ctx); return err },
		"apps":   func(ctx context.Context) error { _, err := c.Apps(ctx, 1); return err },
		"hold": func(ctx context.Context) error {
			_, _, err := c.SetHold(ctx, api.HoldRequest{Name: "x", Reason: "y"})
			return err
		},
		"events": func(ctx context.Context) error {
			_, err := c.FollowEvents(ctx, api.EventQuery{}, "", func(api.Event) error { return nil })
			return err
		},
	} {
		shown = ""
		if err := ask(t.Context()); err == nil || shown != "Bearer the-token" {
			t.Errorf("%s: it shows %q, error %v", name, shown, err)
		}
	}
}
