package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// SaveSnapshot asks for a snapshot of the node's record, as a file of package snapshotfile. It ends with ctx; the node
// must begin within the client's timeout. The caller must close it, and check the file: only a whole one is one.
func (c *Client) SaveSnapshot(ctx context.Context) (io.ReadCloser, error) {
	return c.stream(ctx, snapshotPath)
}

// RestoreRequest says what a restore is about.
type RestoreRequest struct {
	Cluster string // id of the cluster whose record is to be replaced
	Foreign string // id of another cluster that the snapshot is of, or "none"; empty: it is of the same cluster
	By      string // who asks
}

// RestoreSnapshot replaces the record of the cluster by the snapshot in a file of a size. It has no time limit but that
// of ctx: the node ends an upload that does not go on.
func (c *Client) RestoreSnapshot(ctx context.Context, file io.Reader, size int64, q RestoreRequest) (v SnapshotRestored, raw []byte, err error) {
	u := *c.base
	u.Path, u.RawQuery = snapshotPath, nonEmpty("cluster", q.Cluster, "foreign", q.Foreign, "by", q.By).Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), io.NopCloser(file))
	if err != nil {
		return v, nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", snapshotMedia)
	req.Header.Set("Expect", "100-continue") // a request that is refused at once sends no file
	req.Header.Set("Accept", "application/json, "+problemType)
	c.authenticate(req)
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return v, nil, &Unreachable{Addr: c.base.String(), Err: err}
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxBody)); err != nil {
		return v, nil, &Unreachable{Addr: c.base.String(), Err: err}
	}
	if resp.StatusCode >= 300 {
		return v, nil, problemOf(resp, raw)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, nil, fmt.Errorf("the answer of %s cannot be read: %w", c.base, err)
	}
	return v, raw, nil
}
