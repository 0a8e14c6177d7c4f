package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxReadiness bounds the answer to GET /readyz, in bytes.
const maxReadiness = 64 << 10

// Ready asks whether the node is ready. A node that is not says why; that is no error.
func (c *Client) Ready(ctx context.Context) (r Readiness, raw []byte, err error) {
	status, raw, err := c.probe(ctx, "readyz")
	if err != nil {
		return r, nil, err
	}
	if status != http.StatusOK && status != http.StatusServiceUnavailable || json.Unmarshal(raw, &r) != nil {
		return r, nil, fmt.Errorf("the answer of %s to /readyz has the status %d and is not that of hm", c.base, status)
	}
	return r, raw, nil
}

// Alive asks whether the node answers at all.
func (c *Client) Alive(ctx context.Context) error {
	status, _, err := c.probe(ctx, "healthz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the answer of %s to /healthz has the status %d", c.base, status)
	}
	return err
}

// probe asks for what needs no credentials.
func (c *Client) probe(ctx context.Context, path string) (status int, raw []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, &Unreachable{Addr: c.base.String(), Err: err}
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxReadiness))
	if err != nil {
		return 0, nil, &Unreachable{Addr: c.base.String(), Err: err}
	}
	return resp.StatusCode, raw, nil
}
