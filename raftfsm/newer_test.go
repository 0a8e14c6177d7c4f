package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"hm/raftfsm/internal/wire"
)

// CheckKinds agrees with DecodeEntry about what a newer version wrote.
func TestCheckKinds(t *testing.T) {
	for i, e := range sampleEntries() {
		b, err := EncodeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckKinds(b); err != nil {
			t.Errorf("entry %d: %v", i+1, err)
		}
	}
	hold, _ := encodeHoldSet(HoldSet{Hold: Hold{Name: "paused"}})
	known := &wire.Rec{Kind: uint32(KindHoldSet), Body: hold}
	next := uint32(MaxKind) + 1
	for name, tt := range map[string]struct {
		rec   *wire.Rec
		newer bool
	}{
		"the next kind":                   {&wire.Rec{Kind: next, Body: []byte("x")}, true},
		"a kind far away":                 {&wire.Rec{Kind: 4711}, true},
		"the next kind, to be skipped":    {&wire.Rec{Kind: next, Ignorable: true, Body: []byte("x")}, false},
		"the newest kind of this version": {known, false},
	} {
		b := rawEntry(t, known, tt.rec)
		err := CheckKinds(b)
		if errors.Is(err, ErrNewer) != tt.newer || err != nil != tt.newer {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := DecodeEntry(b); errors.Is(err, ErrNewer) != tt.newer {
			t.Errorf("%s, decoded: %v", name, err)
		}
	}
}

// What a newer version wrote is told apart from damage, by the first bytes alone.
func TestSnapshotOfANewerFormat(t *testing.T) {
	data := snapshotOf(t, sampleState(t))
	if err := CheckSnapshotStart(data[:SnapshotStart]); err != nil {
		t.Error(err)
	}
	newer := bytes.Clone(data)
	binary.LittleEndian.PutUint32(newer[len(snapshotMagic):], SnapshotFormat+1)
	for name, err := range map[string]error{
		"its start":    CheckSnapshotStart(newer[:SnapshotStart]),
		"the whole":    func() error { _, err := RestoreState(bytes.NewReader(newer)); return err }(),
		"no snapshot":  CheckSnapshotStart([]byte("something else")),
		"only a start": CheckSnapshotStart(data[:3]),
	} {
		if want := strings.HasPrefix(name, "its") || strings.HasPrefix(name, "the"); err == nil || errors.Is(err, ErrNewer) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, ok := SnapshotFormatOf(newer); !ok || f != SnapshotFormat+1 {
		t.Errorf("the format is %d, %v", f, ok)
	}
}

// A hash of another version cannot be compared, so it does not count; the checksum of the whole file does.
func TestSnapshotWithAHashOfAnotherVersion(t *testing.T) {
	s := sampleState(t)
	var pieces []piece
	head, err := ReadSnapshot(bytes.NewReader(snapshotOf(t, s)), func(r SnapshotRecord) error {
		pieces = append(pieces, piece{r.Section, bytes.Clone(r.Body)})
		return nil
	})
	if err != nil || head.HashVersion != HashVersion {
		t.Fatal(head, err)
	}
	with := func(version uint32) error {
		h := Hash{1}
		head := &wire.SnapshotHeader{Index: s.index, Term: s.term, Time: int64(s.now), Hash: h[:], HashVersion: version}
		_, err := RestoreState(bytes.NewReader(forgeHead(t, head, pieces...)))
		return err
	}
	if err := with(HashVersion); err == nil {
		t.Error("a wrong hash of this version was accepted")
	}
	if err := with(HashVersion + 1); err != nil {
		t.Error(err)
	}
}

// CheckKinds takes any bytes, and finds what DecodeEntry finds.
func FuzzCheckKinds(f *testing.F) {
	for _, e := range sampleEntries() {
		b, err := EncodeEntry(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(rawEntry(f, &wire.Rec{Kind: uint32(MaxKind) + 1, Body: []byte("x")}))
	f.Add(rawEntry(f, &wire.Rec{Kind: uint32(MaxKind) + 1, Ignorable: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := CheckKinds(b)
		if _, decoded := DecodeEntry(b); errors.Is(decoded, ErrNewer) && !errors.Is(err, ErrNewer) {
			t.Errorf("decoding it gives %v, CheckKinds gives %v", decoded, err)
		}
	})
}
