package journal

import (
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
)

// TestEventSurvivesItsEncoding: every field comes back; texts that are too long are cut between two characters.
func TestEventSurvivesItsEncoding(t *testing.T) {
	full := Event{
		At: 99, Kind: CommandSent, App: testKey(1), Index: -1, Instance: testGUID(2), DEA: "d", Command: "c", Action: "start",
		Reason: "r", Rule: "R1", Due: 3, DelayMS: -4, Created: 5, Sent: -6, Priority: 1. / 3, Name: "n", By: "b", Detail: "x", Counts: []Count{{"a", -1}, {"b", 1 << 60}}, ID: ID{Node: "hm-0"},
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test's event has no %s: the codec may forget it", v.Type().Field(i).Name)
		}
	}
	for name, e := range map[string]Event{"full": full, "empty": {}} {
		got, err := decodeEvent(appendEvent(nil, &e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: it came back as %+v, %v", name, got, err)
		}
	}
	got, err := decodeEvent(appendEvent(nil, &Event{Detail: strings.Repeat("é", 600) + "x", Kind: Kind(strings.Repeat("k", 100))}))
	if err != nil || got.Detail != strings.Repeat("é", 512) || len(got.Kind) != maxKindLen {
		t.Errorf("long texts came back as %d and %d bytes, %v", len(got.Detail), len(got.Kind), err)
	}
}

// FuzzDecodeEvent: whatever is in the file, decoding gives an error or an event that encodes to the same bytes.
func FuzzDecodeEvent(f *testing.F) {
	e := crash(1)
	f.Add(appendEvent(nil, &e))
	f.Add(appendEvent(nil, &Event{Kind: HoldSet, Counts: []Count{{"a", 1}}, By: "x", ID: ID{Node: "n"}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(withChecksum(b))
		if err != nil {
			return
		}
		again, err := decodeEvent(appendEvent(nil, &e))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}

// FuzzDecodeMeta: the journal's record of its content is read strictly.
func FuzzDecodeMeta(f *testing.F) {
	m := meta{stored: 100, newest: mark{90, 2, 5}, own: 3, position: Position{90, 1}, gaps: []span{{2, 3}, {7, 90}}}
	f.Add(m.encode())
	f.Add((&meta{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(withChecksum(b))
		if err != nil {
			return
		}
		again, err := decodeMeta(m.encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

// FuzzParseID: an ID from a client is refused, or is written as it was read.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{"48213.2", "48213.2~17~hm-1", "1.1~0~x", "1.4294967296", "~~", "1.1~1~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if again, err := ParseID(id.String()); err != nil || again != id {
			t.Errorf("%q is %+v, and %q is %+v, %v", s, id, id.String(), again, err)
		}
	})
}

// withChecksum makes the first four bytes the checksum of the others, so that fuzzing reaches what is behind the check.
func withChecksum(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	b = append([]byte(nil), b...)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}
