package cluster

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
	"hm/raftfsm"
)

// An entry that arrives damaged is not stored; the leader sends it again.
func TestReceivedEntryThatIsDamagedIsRefused(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	s := c.nodes[0].stores
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	next := raft.Log{Index: last + 1, Term: 1, Data: []byte("data")}
	sealEntry(&next)
	for name, spoil := range map[string]func(l *raft.Log){
		"index":     func(l *raft.Log) { l.Index++ },
		"term":      func(l *raft.Log) { l.Term ^= 4 },
		"type":      func(l *raft.Log) { l.Type ^= 1 },
		"data":      func(l *raft.Log) { l.Data = []byte("dbta") },
		"sum":       func(l *raft.Log) { l.Extensions[len(entryMark)] ^= 1 },
		"mark":      func(l *raft.Log) { l.Extensions[0] ^= 1 },
		"short sum": func(l *raft.Log) { l.Extensions = l.Extensions[:8] },
	} {
		l := next
		l.Extensions = bytes.Clone(next.Extensions)
		spoil(&l)
		if err := s.log.StoreLog(&l); !errors.Is(err, errArrivedDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.propose(dea(2)) // nothing on this node is damaged
}

// A follower stores no entry without a checksum.
func TestEntryWithoutChecksumIsRefused(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	c.converged()
	follower := c.nodes[(c.index(c.leader())+1)%3]
	for follower.raft.State() != raft.Follower {
		follower = c.nodes[(c.index(c.leader())+1)%3]
	}
	if err := follower.stores.log.StoreLog(&raft.Log{Index: 1 << 40, Term: 1}); !errors.Is(err, errArrivedDamaged) {
		t.Errorf("%v", err)
	}
}

// Raft leaves a gap below a snapshot that it installs. An entry that is missing above the gap is damage.
func TestMissingEntryIsDamage(t *testing.T) {
	c := startCluster(t, 1, nil)
	c.propose(dea(1))
	log := c.nodes[0].stores.log
	last := log.last
	var l raft.Log
	if err := log.GetLog(last+1, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry behind the end: %v", err)
	}
	if err := c.nodes[0].stores.file.DeleteRange(2, 2); err != nil { // under the log, as damage would
		t.Fatal(err)
	}
	log = &checkedLog{inner: boltLog{c.nodes[0].stores.file}} // without the cache
	log.setSpan(1, last)
	if err := log.GetLog(2, &l); !errors.Is(err, errDamaged) {
		t.Errorf("a missing entry: %v", err)
	}
	log.setSpan(3, last)
	if err := log.GetLog(2, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry below a gap: %v", err)
	}
}

// A stored entry shows what its leader's clock is. An entry that arrives damaged shows nothing.
func TestAStoredEntryShowsTheLeadersTime(t *testing.T) {
	at := app.TimeOf(time.Now())
	data, err := raftfsm.EncodeEntry(raftfsm.Entry{At: at.Add(10 * time.Millisecond), Records: []raftfsm.Record{dea(1)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]app.Time{"undamaged": at.Add(10 * time.Millisecond), "damaged": at - 1} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			c.applied(at, 1)
			c.follow(at, 2)
			log := raftLog{&checkedLog{inner: raft.NewInmemStore()}, func(error) {}, c}
			l := &raft.Log{Index: 1, Term: 2, Type: raft.LogCommand, Data: data}
			sealEntry(l)
			if name == "damaged" {
				l.Extensions[len(l.Extensions)-1]++
			}
			if err := log.StoreLogs([]*raft.Log{l}); (err != nil) != (name == "damaged") {
				t.Fatalf("storing it gives %v", err)
			}
			if r := c.reading(); r.told != want {
				t.Errorf("the clock is known to be the leader's as of %d, want %d", r.told, want)
			}
		})
	}
}
