package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// longestProfile is the longest profile that a node gives.
const longestProfile = 50 * time.Second

// profile takes a processor profile of a node from now on, for as long as a window lasts, and longestProfile at most, and
// then one of its memory. The caller must call the function that it gives, which waits for both.
func (b *bench) profile(ctx context.Context, name string, node int) (wait func() error) {
	if b.profiles == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- b.takeProfile(ctx, name, node) }()
	return func() error { return <-done }
}

func (b *bench) takeProfile(ctx context.Context, name string, node int) error {
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	lasts := min(max(b.window, time.Second), longestProfile)
	if err := b.saveProfile(ctx, node, fmt.Sprintf("profile?seconds=%.0f", lasts.Seconds()), name+".pprof"); err != nil {
		return err
	}
	return b.saveProfile(ctx, node, "heap", name+".heap.pprof")
}

func (b *bench) saveProfile(ctx context.Context, node int, which, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/%s", b.apis[node], which)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: b.window + time.Minute}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a profile of hm-%d: %s", node, resp.Status)
	}
	f, err := os.Create(filepath.Join(b.profiles, file))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
