package main

import (
	"bytes"
	"strings"
	"testing"

	"hm/internal/api"
)

func TestStatusShowsWhatNodesHear(t *testing.T) {
	part, all := 4, 10
	var out bytes.Buffer
	err := (&cli{out: &out}).printStatus(api.Status{
		Node:    "hm-0",
		Cluster: api.Cluster{Leader: "hm-0", Nodes: []api.ClusterNode{{ID: "hm-0", Hears: &part, Version: "v"}, {ID: "hm-1", Hears: &all, Version: "v"}, {ID: "hm-2"}}},
		NATS:    api.NATS{Connected: true, LagRefused: "no permission"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" 4 DEAs ", " 10 DEAs ", ", lag not known: no permission"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("hm status lacks %q:\n%s", want, &out)
		}
	}
}
