package api_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// TestFollowersShowWhatTheLeaderActsOn: on a follower not-leader holds nothing, because the leader acts.
func TestFollowersShowWhatTheLeaderActsOn(t *testing.T) {
	w := apitest.Fleet()
	w.Follow("hm-2", "hm-1", "x:1")
	base := serve(t, w.Options())
	resp, raw := ask(t, "GET", base+"/v1/drift", "")
	var items []api.DriftItem
	if err := json.Unmarshal(raw, &items); err != nil {
		t.Fatal(err)
	}
	if d := items[0]; resp.Header.Get("X-Hm-Gate") != "open" || d.Bucket != "start" || len(d.HeldBy) != 0 {
		t.Errorf("gate %q, %+v", resp.Header.Get("X-Hm-Gate"), d)
	}
	w.CloseGate("not-leader", "nats-down")
	w.Must(w.Now(), raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "x"}}) // another index needs another pass
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		resp, raw = ask(t, "GET", base+"/v1/drift", "")
		if err := json.Unmarshal(raw, &items); err != nil {
			t.Fatal(err)
		}
		if d := items[0]; resp.Header.Get("X-Hm-Gate") == "nats-down" && d.Bucket == "hold" && strings.Join(d.HeldBy, ",") == "nats-down" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("gate %q, %+v", resp.Header.Get("X-Hm-Gate"), d)
		}
	}
	_, raw = ask(t, "GET", base+"/v1/status", "")
	var s api.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if strings.Join(s.Gate.Reasons, ",") != "not-leader,nats-down" || s.Gate.Open {
		t.Errorf("the status shows %+v, want every reason", s.Gate)
	}
}

// TestFollowersShowTheGateOfTheLeader: status and explain give the same gate.
func TestFollowersShowTheGateOfTheLeader(t *testing.T) {
	node := apitest.Fleet()
	node.Follow("hm-2", "hm-1", "x:1")
	for i := range node.Peers {
		if node.Peers[i].ID == "hm-1" {
			node.Peers[i].Info.Gate = "paused, shadow"
		}
	}
	base := serve(t, node.Options())
	var status api.Status
	var explained api.Explanation
	for path, answer := range map[string]any{"/v1/status": &status, "/v1/apps/" + apitest.Steady.Droplet.String() + "/explain": &explained} {
		if _, raw := ask(t, "GET", base+path, ""); json.Unmarshal(raw, answer) != nil {
			t.Fatalf("%s: %s", path, raw)
		}
	}
	if g := status.Gate; g.OnLeader != "paused, shadow" || g.Open || g.Closed() || !reflect.DeepEqual(g, explained.Gate) {
		t.Errorf("the status shows %+v, the explanation %+v", g, explained.Gate)
	}
}

// TestManyAsk lets clients ask for everything while the state changes, for the race detector.
func TestManyAsk(t *testing.T) {
	w := apitest.Fleet()
	base := serve(t, w.Options())
	var all sync.WaitGroup
	for _, path := range []string{"/v1/status", "/v1/drift?limit=2", "/v1/apps", "/v1/apps/a0000003/explain", "/v1/deas/1-dea-one", "/v1/commands?history=3", "/metrics", "/readyz"} {
		all.Go(func() {
			for range 20 {
				resp, err := http.Get(base + path)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", path, resp.StatusCode)
				}
			}
		})
	}
	for i := range 100 {
		w.Must(w.Now().Add(time.Second), raftfsm.DEAChanges{DEA: "1-dea-two", Upserts: []actual.Instance{apitest.Instance(apitest.Gappy, 100+i, 2, actual.Running)}})
		w.Wake()
	}
	all.Wait()
}
