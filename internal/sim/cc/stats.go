package cc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
	"hm/internal/sim/wire"
)

// statsPatience is how long the Cloud Controller waits for instances that it expects and that no DEA names.
const statsPatience = time.Second

// Stats asks the DEAs for an app's instances, as the API's reads of stats and instances do. While NATS is away it fails
// with wire.ErrUnavailable. An instance that no DEA names in time is left out.
func (c *Controller) Stats(ctx context.Context, guid app.GUID) ([]wire.Found, error) {
	c.mu.Lock()
	row, known := c.apps.get(guid)
	c.mu.Unlock()
	if !known {
		return nil, wire.NoApp(guid)
	}
	if !c.nc.IsConnected() {
		return nil, fmt.Errorf("%w: stats of app %s: NATS is away, so the DEAs cannot be asked", wire.ErrUnavailable, guid)
	}
	inbox := nats.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("%w: stats of app %s: %w", wire.ErrUnavailable, guid, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	question := wire.MustJSON(wire.Stop{Droplet: guid, Version: row.Version})
	if err := c.nc.PublishRequest(wire.SubjectDEAFind, inbox, question); err != nil {
		return nil, fmt.Errorf("%w: stats of app %s: %w", wire.ErrUnavailable, guid, err)
	}
	found := []wire.Found{}
	wait, cancel := context.WithTimeout(ctx, statsPatience)
	defer cancel()
	for len(found) < row.Instances {
		m, err := sub.NextMsgWithContext(wait)
		if err != nil {
			break
		}
		var one wire.Found
		if json.Unmarshal(m.Data, &one) == nil {
			found = append(found, one)
		}
	}
	if !c.nc.IsConnected() {
		return nil, fmt.Errorf("%w: stats of app %s: NATS went away", wire.ErrUnavailable, guid)
	}
	return found, nil
}
