package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
)

// TestAStreamOfEventsGoesOnAtAnotherNode: a client follows the events of a node that goes away, and goes on at the next
// one. It gets each event of the cluster once, in the order in which every node has them.
func TestAStreamOfEventsGoesOnAtAnotherNode(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 300 * time.Millisecond})
	first := c.awaitConverged()
	client := func(i int) *api.Client {
		client, err := api.NewClient(api.ClientOptions{Addr: c.nodes[i].url(), Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	clients := []*api.Client{client(first), client((first + 1) % 3), client((first + 2) % 3)}

	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var got []string
	held := map[string]bool{}
	var followed sync.WaitGroup
	followed.Go(func() {
		after := "0.0"
		for at := 0; ctx.Err() == nil; at++ {
			after, _ = clients[at%3].FollowEvents(ctx, api.EventQuery{}, after, func(e api.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if e.Node == "" {
					got = append(got, e.ID)
					held[e.Name] = true
				}
				return nil
			})
		}
	})
	defer followed.Wait()
	defer cancel()
	hold := func(name string) {
		bustest.Until(t, "the hold "+name+" is set and streamed", func() bool {
			_, _, _ = clients[1].SetHold(ctx, api.HoldRequest{Name: name, Reason: "a test"})
			mu.Lock()
			defer mu.Unlock()
			return held[name]
		})
	}
	for i := range 4 {
		if hold(fmt.Sprintf("hold-%d", i)); i == 1 {
			c.nodes[first].close(t)
		}
	}
	l, err := clients[2].Events(ctx, api.EventQuery{}, 10_000)
	if err != nil || l.More {
		t.Fatalf("%v, more: %v", err, l.More)
	}
	mu.Lock()
	defer mu.Unlock()
	var want []string
	for _, e := range l.Items {
		if e.Node == "" {
			want = append(want, e.ID)
		}
	}
	n := min(len(got), len(want))
	if n < 6 || !slices.Equal(got[:n], want[:n]) {
		t.Errorf("the client got\n%v, the node that it did not ask has\n%v", got, want)
	}
}
