package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/snapshotfile"
	"hm/raftfsm"
)

// I5: an old snapshot is restored into a running cluster, through a node that does not lead, while the fleet lives and has
// changed since. All nodes take it over, wait for a fresh picture, and send no command. A snapshot of another cluster, a
// damaged one, and one for another cluster are refused.
func TestRestoreIntoARunningCluster(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 300 * time.Millisecond})
	leader := c.awaitConverged()
	client := func(i int) *api.Client {
		client, err := api.NewClient(api.ClientOptions{Addr: c.nodes[i].url(), Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	follower := client((leader + 1) % 3)
	bustest.Until(t, "the cluster has an id", func() bool { return c.status((leader+1)%3).Cluster.ID != "" })
	id := c.status(leader).Cluster.ID
	body, err := follower.SaveSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	_, head, err := snapshotfile.Read(bytes.NewReader(old))
	if err != nil || head.Cluster != id {
		t.Fatalf("the snapshot is of %q, %v; want %q", head.Cluster, err, id)
	}

	apps := c.sim.Apps(0, 4) // the fleet changes
	for i, change := range []func() error{
		func() error { _, err := c.sim.CC.ScaleApp(apps[0].GUID, 5); return err },
		func() error { _, err := c.sim.CC.ScaleApp(apps[1].GUID, 1); return err },
		func() error { _, err := c.sim.CC.StopApp(apps[2].GUID); return err },
		func() error { _, err := c.sim.CC.RestartApp(apps[3].GUID); return err },
	} {
		if err := change(); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	bustest.Until(t, "the changes are recorded", func() bool {
		return c.sim.State().Converged && c.status(leader).Desired.Instances == c.sim.State().Desired
	})
	leader = c.awaitConverged()
	before := c.sim.State().Commands

	refused := func(what string, data []byte, q api.RestoreRequest, status int, says string) {
		t.Helper()
		var p *api.Problem
		_, _, err := follower.RestoreSnapshot(t.Context(), bytes.NewReader(data), int64(len(data)), q)
		if !errors.As(err, &p) || p.Status != status || !strings.Contains(p.Detail, says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	foreign := raftfsm.NewState()
	foreign.Apply(1, 1, raftfsm.Entry{At: 1, Records: []raftfsm.Record{raftfsm.ClusterNamed{ID: raftfsm.ClusterID{0xff, 15: 1}}}})
	var other bytes.Buffer
	if err := snapshotfile.Write(&other, foreign, snapshotfile.Header{}); err != nil {
		t.Fatal(err)
	}
	theirs := foreign.ClusterID().String()
	refused("for another cluster", old, api.RestoreRequest{Cluster: theirs}, http.StatusConflict, id)
	refused("for no cluster", old, api.RestoreRequest{}, http.StatusConflict, id)
	refused("of another cluster", other.Bytes(), api.RestoreRequest{Cluster: id}, http.StatusConflict, theirs)
	refused("of another cluster than that", other.Bytes(), api.RestoreRequest{Cluster: id, Foreign: id}, http.StatusConflict, theirs)
	refused("cut off", old[:len(old)-1], api.RestoreRequest{Cluster: id}, http.StatusBadRequest, "ends early")
	if n := c.nodes[leader].cluster.View().Restores(); n != 0 {
		t.Fatalf("%d restores after requests that were refused", n)
	}

	v, _, err := follower.RestoreSnapshot(t.Context(), bytes.NewReader(old), int64(len(old)), api.RestoreRequest{Cluster: id, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Cluster != id || v.Snapshot.Index != head.Index || v.WaitsUntil.IsZero() {
		t.Errorf("restored %+v", v)
	}
	for i := range c.nodes {
		bustest.Until(t, "every node takes it over", func() bool {
			view := c.nodes[i].cluster.View()
			return view.Restores() == 1 && view.Index() >= v.Index && view.ClusterID().String() == id
		})
	}
	if s := c.status(leader); s.Gate.Open {
		t.Errorf("the gate is open right after the restore: %+v", s.Gate)
	}
	c.awaitConverged()
	bustest.Until(t, "what is recorded is what there is", func() bool {
		s, there := c.status(0), c.sim.State()
		return s.Desired.Instances == there.Desired && s.Actual.Running == there.Running && s.Drift.Total() == 0
	})
	if after := c.sim.State().Commands; !reflect.DeepEqual(after, before) {
		t.Errorf("the restore caused commands: %+v, before it were %+v", after, before)
	}
}
