package apitest

import (
	"fmt"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// perDEA is how many instances each DEA of a large fleet has.
const perDEA = 100

// Large returns a node with so many DEAs, each with 100 instances, of apps that want two and three of them in turn; lost
// of the DEAs are gone. 10,000 DEAs have 1,000,000 instances of 400,000 apps.
func Large(deas, lost int) *Node {
	apps := deas * perDEA * 2 / 5
	n := New()
	keys := make([]app.Key, apps)
	rows := make([]desired.App, apps)
	for i := range rows {
		keys[i] = Key(i+1, 1)
		rows[i] = staged(keys[i], 2+uint32(i%2))
	}
	n.Desire(Start, rows...)
	var gone []string
	next, index := 0, uint32(0)
	for d := range deas {
		changes := raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%05d", d)}
		for i := range perDEA {
			changes.Upserts = append(changes.Upserts, Instance(keys[next], d*perDEA+i+1, index, actual.Running))
			if index++; index == rows[next].Instances {
				next, index = next+1, 0
			}
		}
		n.Must(Start.Add(time.Second), changes)
		if d < lost {
			gone = append(gone, changes.DEA)
			continue
		}
		n.HeardAt[changes.DEA] = Start.Add(2 * time.Second)
	}
	if len(gone) > 0 {
		n.Must(Start.Add(2*time.Second), raftfsm.DEAsGone{DEAs: gone})
	}
	return n
}
