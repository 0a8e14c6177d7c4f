package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

// control speaks to the control API of the simulated Cloud Foundry, or to the API of a node.
type control struct {
	url    string
	client *http.Client
}

func newControl(address string) *control {
	return &control{"http://" + address, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}}
}

func (c *control) close() { c.client.CloseIdleConnections() }

func (c *control) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

func (c *control) post(ctx context.Context, path string, body any) error {
	return c.do(ctx, http.MethodPost, path, body, nil)
}

func (c *control) do(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, b)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// apps gives the apps, by the order of their rows.
func (c *control) apps(ctx context.Context) ([]sim.AppView, error) {
	var apps []sim.AppView
	return apps, c.get(ctx, "/apps?limit=10000", &apps)
}

func (c *control) deas(ctx context.Context) ([]fleet.DEA, error) {
	var deas []fleet.DEA
	return deas, c.get(ctx, "/deas?limit=10000", &deas)
}

func (c *control) state(ctx context.Context) (sim.State, error) {
	var s sim.State
	return s, c.get(ctx, "/state", &s)
}

// router gives what became of the users' requests.
func (c *control) router(ctx context.Context) (sim.RouterView, error) {
	var v sim.RouterView
	return v, c.get(ctx, "/router", &v)
}

// commands gives the commands that the Cloud Controller received.
func (c *control) commands(ctx context.Context) ([]cc.Command, error) {
	var all []cc.Command
	for since := uint64(0); ; {
		var page []cc.Command
		if err := c.get(ctx, fmt.Sprintf("/commands?since=%d&limit=10000", since), &page); err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		since = page[len(page)-1].Seq
	}
}

// change alters the faults of the simulation.
func (c *control) change(ctx context.Context, alter func(*sim.Faults)) error {
	var f sim.Faults
	if err := c.get(ctx, "/faults", &f); err != nil {
		return err
	}
	alter(&f)
	return c.do(ctx, http.MethodPut, "/faults", f, nil)
}
