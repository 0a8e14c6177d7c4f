package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Recording begins a recording of the node, as JSON lines, which ends with ctx or with the node. The node must begin
// within the client's timeout. The caller must close the recording.
func (c *Client) Recording(ctx context.Context) (io.ReadCloser, error) {
	return c.stream(ctx, "/v1/recording")
}

// stream asks for something that lasts as long as the client wants.
func (c *Client) stream(ctx context.Context, path string) (io.ReadCloser, error) {
	u := *c.base
	u.Path = path
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	c.authenticate(req)
	endless := *c.http
	endless.Timeout = 0
	late := time.AfterFunc(c.http.Timeout, cancel)
	resp, err := endless.Do(req)
	if err != nil || !late.Stop() {
		cancel()
		if err == nil {
			_ = resp.Body.Close() // nothing was read from it
			err = context.DeadlineExceeded
		}
		return nil, &Unreachable{Addr: c.base.String(), Err: err}
	}
	if resp.StatusCode >= 300 {
		defer cancel()
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return nil, &Unreachable{Addr: c.base.String(), Err: err}
		}
		return nil, problemOf(resp, raw)
	}
	return &recordingBody{resp.Body, cancel}, nil
}

// RecordingState asks the node to put the recorded state into the recording with an id.
func (c *Client) RecordingState(ctx context.Context, id string) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/recording/"+segment(id)+"/state", nil, nil)
	return err
}

// recordingBody ends the request when it is closed.
type recordingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close closes the connection.
func (b *recordingBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}
