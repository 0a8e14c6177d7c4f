package raftfsm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// fleet has apps of one to four instances on many DEAs. All instances run.
type fleet struct {
	rows  []desired.App
	beats []DEAChanges // each DEA's first heartbeat
}

const fleetStart app.Time = 1_700_000_000_000

func randomGUID(r *rand.Rand, form byte) app.GUID {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], r.Uint64())
	binary.LittleEndian.PutUint64(b[8:], r.Uint64())
	return app.FromBinary(b, form)
}

// newFleet always makes the same fleet. apps and deas must be multiples of 4.
func newFleet(apps, deas int) *fleet {
	r := rand.New(rand.NewPCG(1, 2))
	f := &fleet{beats: make([]DEAChanges, deas)}
	for d := range f.beats {
		f.beats[d].DEA = fmt.Sprintf("%d-%032x", d, r.Uint64())
	}
	at := 0
	for a := range apps {
		row := desired.App{Key: app.Key{Droplet: randomGUID(r, 'u'), Version: randomGUID(r, 'u')}, Instances: uint32(1 + a%4), State: desired.Started, Package: desired.Staged}
		f.rows = append(f.rows, row)
		for i := range row.Instances {
			b := &f.beats[at%deas]
			at += 1 + r.IntN(3)
			b.Upserts = append(b.Upserts, actual.Instance{App: row.Key, GUID: randomGUID(r, 'h'), Index: i, State: actual.Running,
				Since: int64(fleetStart) - r.Int64N(30*86400*1000)})
		}
	}
	return f
}

// state applies the fleet, like a cold start.
func (f *fleet) state() *State {
	s := NewState()
	index := uint64(0)
	apply := func(r Record) {
		for _, p := range Split(r, MaxEntry) {
			index++
			if res := s.Apply(index, 1, Entry{At: fleetStart + app.Time(index), Records: []Record{p}}); len(res.Refused) > 0 {
				panic(res.Refused[0].Err)
			}
		}
	}
	parts := len(Split(DesiredChanges{Generation: 1, Upserts: f.rows}, MaxEntry))
	apply(DesiredChanges{Generation: 1, Upserts: f.rows})
	apply(DesiredCommit{Generation: 1, Parts: parts, Source: "bulk http://cc.example"})
	for i := range f.beats {
		apply(f.beats[i])
	}
	return s
}

// million is the fleet of the budgets: 1,000,000 instances of 400,000 apps on 10,000 DEAs.
var million = sync.OnceValue(func() *fleet { return newFleet(400_000, 10_000) })

var millionState = sync.OnceValue(func() *State { return million().state() })
