package raftfsm

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"

	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// ClusterID names a cluster for ever, so that the snapshot of one cluster is not restored into another by mistake. The
// zero value names none.
type ClusterID [16]byte

// IsZero reports whether the id names no cluster.
func (id ClusterID) IsZero() bool { return id == ClusterID{} }

// String returns the id as a UUID; empty if it names no cluster.
func (id ClusterID) String() string {
	if id.IsZero() {
		return ""
	}
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseClusterID reads what String returns.
func ParseClusterID(text string) (id ClusterID, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%.60q is not the id of a cluster: an id is a UUID", text)
	}
	if id = ClusterID(b); id.IsZero() || id.String() != strings.ToLower(text) {
		return ClusterID{}, fmt.Errorf("%.60q is not the id of a cluster: an id is a UUID", text)
	}
	return id, nil
}

// ClusterNamed gives the cluster its id. It is refused if the cluster has one: an id never changes.
type ClusterNamed struct{ ID ClusterID }

// Kind is KindClusterNamed.
func (ClusterNamed) Kind() Kind { return KindClusterNamed }

// clusterRec is what is recorded of the cluster itself.
type clusterRec struct {
	id         ClusterID
	restores   uint64   // how often the whole record was replaced by a snapshot that a person restored
	restoredAt app.Time // when it last was, in hm time; 0: never
}

// ClusterID is the id of the cluster; the zero value while it has none.
func (s *State) ClusterID() ClusterID { return s.cluster.id }

// Restores is how often the whole record was replaced by a snapshot that a person restored. RestoredAt is when it last
// was.
func (s *State) Restores() uint64 { return s.cluster.restores }

// RestoredAt is the hm time at which the record was last replaced by a snapshot; 0 if it never was. What was read before
// says nothing about the record.
func (s *State) RestoredAt() app.Time { return s.cluster.restoredAt }

func applyClusterNamed(a *applier, r ClusterNamed) error {
	switch {
	case r.ID.IsZero():
		return fmt.Errorf("%w: the id names no cluster", ErrInvalid)
	case !a.cluster.id.IsZero():
		return fmt.Errorf("%w: it is %s", ErrNamed, a.cluster.id)
	}
	c := a.cluster
	c.id = r.ID
	a.setCluster(c)
	return nil
}

// setCluster replaces what is recorded of the cluster.
func (s *State) setCluster(c clusterRec) {
	if s.cluster != (clusterRec{}) {
		s.sum.sub(s.scratch.enc.cluster(&s.cluster))
	}
	if s.cluster = c; c != (clusterRec{}) {
		s.sum.add(s.scratch.enc.cluster(&c))
	}
}

func (e *encoding) cluster(c *clusterRec) xxh3.Uint128 {
	e.reset(hashedCluster)
	*e = append(*e, c.id[:]...)
	e.u64(c.restores)
	e.time(c.restoredAt)
	return e.hash()
}

func encodeClusterNamed(r ClusterNamed) ([]byte, error) {
	return marshal(&wire.ClusterNamed{Id: r.ID[:]})
}

func decodeClusterNamed(b []byte) (ClusterNamed, error) {
	var m wire.ClusterNamed
	if err := unmarshal(b, &m); err != nil {
		return ClusterNamed{}, err
	}
	id, err := clusterIDOf(m.Id)
	return ClusterNamed{ID: id}, err
}

func clusterIDOf(b []byte) (ClusterID, error) {
	if len(b) != len(ClusterID{}) {
		return ClusterID{}, fmt.Errorf("%w: the id of the cluster has %d bytes, want %d", ErrInvalid, len(b), len(ClusterID{}))
	}
	return ClusterID(b), nil
}

// persistCluster writes nothing for a cluster without an id that was never restored: so versions of hm that do not know
// the section read the snapshot.
func persistCluster(s *State, w *snapshotWriter) error {
	if s.cluster == (clusterRec{}) {
		return nil
	}
	return w.record(SectionCluster, &wire.SnapshotCluster{
		Id: s.cluster.id[:], Restores: s.cluster.restores, RestoredAt: int64(s.cluster.restoredAt),
	})
}

func restoreCluster(r *restorer, body []byte) error {
	var m wire.SnapshotCluster
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	id, err := clusterIDOf(m.Id)
	if err != nil {
		return err
	}
	c := clusterRec{id: id, restores: m.Restores, restoredAt: app.Time(m.RestoredAt)}
	switch {
	case r.s.cluster != (clusterRec{}):
		return fmt.Errorf("the record comes twice")
	case c == (clusterRec{}) || c.restoredAt < 0 || c.restoredAt > MaxTime || (c.restores == 0) != (c.restoredAt == 0):
		return fmt.Errorf("invalid record of the cluster: %d restores, the newest at %d", m.Restores, m.RestoredAt)
	}
	r.s.setCluster(c)
	return nil
}
