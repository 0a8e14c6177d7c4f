package raftfsm

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

func TestEntriesAreDecodedAsTheyWereEncoded(t *testing.T) {
	seen := map[Kind]bool{}
	for i, e := range sampleEntries() {
		b, err := EncodeEntry(e)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		got, err := DecodeEntry(b)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("entry %d:\n got %+v\nwant %+v", i, got, e)
		}
		for _, r := range e.Records {
			seen[r.Kind()] = true
		}
	}
	for k := Kind(1); k <= MaxKind; k++ {
		if !seen[k] {
			t.Errorf("sampleEntries has no record of kind %d (%s)", k, k)
		}
		if kinds[k].number != k || kinds[k].name == "" {
			t.Errorf("kinds[%d] has the number %d and the name %q", k, kinds[k].number, kinds[k].name)
		}
	}
}

func TestAnyRecordIsDecodedAsItWasEncoded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &entryGenerator{t: rt, s: NewState()}
		e := Entry{At: app.Time(rapid.Int64().Draw(rt, "at"))}
		for range w.pick(5, "records") {
			e.Records = append(e.Records, w.record())
		}
		b, err := EncodeEntry(e)
		if err != nil {
			rt.Fatalf("EncodeEntry: %v", err)
		}
		got, err := DecodeEntry(b)
		if err != nil {
			rt.Fatalf("DecodeEntry: %v", err)
		}
		if !reflect.DeepEqual(got, e) {
			rt.Fatalf("\n got %+v\nwant %+v", got, e)
		}
	})
}

func rawEntry(t testing.TB, recs ...*wire.Rec) []byte {
	b, err := proto.Marshal(&wire.Entry{At: 5, Records: recs})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnUnknownKindIsAnErrorUnlessIgnorable(t *testing.T) {
	if _, err := DecodeEntry(rawEntry(t, &wire.Rec{Kind: 4711, Body: []byte("x")})); err == nil || !strings.Contains(err.Error(), "newer hm") {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := DecodeEntry(rawEntry(t, &wire.Rec{Ignorable: true})); err == nil {
		t.Error("kind 0 was accepted")
	}
	hold, _ := encodeHoldSet(HoldSet{Hold: Hold{Name: "paused"}})
	e, err := DecodeEntry(rawEntry(t, &wire.Rec{Kind: 4711, Ignorable: true, Body: []byte("x")}, &wire.Rec{Kind: uint32(KindHoldReleased)}, &wire.Rec{Kind: uint32(KindHoldSet), Body: hold}))
	if err != nil || len(e.Records) != 3 || e.Records[0] != (Unknown{Number: 4711}) {
		t.Fatalf("ignorable: %+v, %v", e, err)
	}
	// The records after it keep their positions, so a Result means the same on every node.
	res := NewState().Apply(1, 1, e)
	if len(res.Refused) != 1 || res.Refused[0].Record != 1 || res.Err != nil {
		t.Fatalf("Result %+v", res)
	}
	if _, err := EncodeEntry(e); err == nil {
		t.Error("EncodeEntry accepted a record of type Unknown")
	}
}

// A node that ignored an unknown field would record less than the others.
func TestAnUnknownFieldIsAnError(t *testing.T) {
	extra := func(b []byte) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, 900, protowire.VarintType), 1)
	}
	for _, e := range sampleEntries() {
		for _, r := range e.Records {
			body, err := kinds[r.Kind()].encode(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kinds[r.Kind()].decode(extra(body)); err == nil || !strings.Contains(err.Error(), "does not know") {
				t.Errorf("%s: %v", r.Kind(), err)
			}
		}
	}
	c, _ := proto.Marshal(encodeCommand(&commands.Command{}))
	nested := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), extra(c))
	if _, err := decodeCommandsScheduled(nested); err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("an unknown field in a command: %v", err)
	}
	if _, err := DecodeEntry(extra(nil)); err == nil {
		t.Error("an unknown field in an entry was accepted")
	}
}

func TestDecodeRefuses(t *testing.T) {
	guid := testGUID('c', 0, 'u').AppendWire(nil)
	key := appendKey(nil, testKey(0))
	for name, m := range map[string]struct {
		kind Kind
		m    proto.Message
	}{
		"columns of different length": {KindDEAChanges, &wire.DEAChanges{Keys: key, App: []uint32{0}, Guids: guid, Index: []uint32{1}, Since: []int64{1}}},
		"app that is not in keys":     {KindDEAChanges, &wire.DEAChanges{Keys: key, App: []uint32{1}, Guids: guid, Index: []uint32{1}, States: []byte{2}, Since: []int64{1}}},
		"too few guids":               {KindDEAChanges, &wire.DEAChanges{Keys: key, App: []uint32{0}, Guids: guid[:9], Index: []uint32{1}, States: []byte{2}, Since: []int64{1}}},
		"too many guids":              {KindDEAChanges, &wire.DEAChanges{Guids: guid}},
		"half a removed guid":         {KindDEAChanges, &wire.DEAChanges{Removes: guid[:9]}},
		"half a key":                  {KindDEAChanges, &wire.DEAChanges{Keys: guid}},
		"rows without states":         {KindDesiredChanges, &wire.DesiredChanges{Keys: key, Instances: []uint32{1}}},
		"one key too many":            {KindDesiredChanges, &wire.DesiredChanges{Keys: key}},
		"half a removed key":          {KindDesiredChanges, &wire.DesiredChanges{Removes: guid}},
		"reason above 255":            {KindInstanceExited, &wire.Exit{App: key, Instance: guid, Reason: 256}},
		"exit without app":            {KindInstanceExited, &wire.Exit{Instance: guid}},
		"short command id":            {KindCommandsResolved, &wire.Outcomes{Outcomes: []*wire.Outcome{{Id: []byte{1}}}}},
		"short claim id":              {KindCommandsClaimed, &wire.Claims{Claims: []*wire.Claim{{}}}},
		"crash without app":           {KindCrashesForgotten, &wire.CrashRefs{Index: []uint32{1}}},
	} {
		body, err := proto.Marshal(m.m)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := DecodeEntry(rawEntry(t, &wire.Rec{Kind: uint32(m.kind), Body: body})); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
	if _, err := DecodeEntry(make([]byte, maxDecode+1)); err == nil {
		t.Error("an entry above the limit was accepted")
	}
}

func TestEncodeRefusesLargeEntriesAndOtherTypes(t *testing.T) {
	var rows []desired.App
	for range 20_000 {
		rows = append(rows, row(testKey(0), 1))
	}
	big := DesiredChanges{Generation: 1, Upserts: rows}
	if _, err := EncodeEntry(Entry{Records: []Record{big}}); err == nil || !strings.Contains(err.Error(), "split") {
		t.Errorf("too large: %v", err)
	}
	for _, r := range []Record{nil, &big, Unknown{Number: KindHoldSet}} {
		if _, err := EncodeEntry(Entry{Records: []Record{r}}); err == nil {
			t.Errorf("%T was encoded", r)
		}
		if res := NewState().Apply(1, 1, Entry{Records: []Record{r}}); r != nil && reflect.TypeOf(r) != reflect.TypeOf(Unknown{}) && len(res.Refused) != 1 {
			t.Errorf("%T was applied", r)
		}
	}
}

// A record of 100 instances is hardly larger than its guids.
func TestDEAChangesAreCompact(t *testing.T) {
	f := newFleet(400, 10)
	b, err := EncodeEntry(Entry{At: fleetStart, Records: []Record{f.beats[0]}})
	if err != nil {
		t.Fatal(err)
	}
	n, apps := len(f.beats[0].Upserts), map[app.Key]bool{}
	for _, u := range f.beats[0].Upserts {
		apps[u.App] = true
	}
	if limit := n*(guidWire+9) + len(apps)*keyWire + 120; len(b) > limit {
		t.Errorf("%d instances of %d apps take %d bytes, expected at most %d", n, len(apps), len(b), limit)
	}
}

// Any bytes give an error, or an entry that can be applied and has the same effect when it is encoded and decoded
// again.
func FuzzDecodeEntry(f *testing.F) {
	for _, e := range sampleEntries() {
		b, err := EncodeEntry(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	sample := sampleEntries()
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		if at := EntryTime(data); at != e.At {
			t.Errorf("the time of the entry is %d, EntryTime gives %d", e.At, at)
		}
		a, b := NewState(), NewState()
		for i, s := range sample {
			a.Apply(uint64(i+1), 1, s)
			b.Apply(uint64(i+1), 1, s)
		}
		a.Apply(1000, 1, e)
		if again, err := EncodeEntry(e); err == nil {
			e2, err := DecodeEntry(again)
			if err != nil {
				t.Fatalf("decoding an encoded entry: %v", err)
			}
			e = e2
		}
		b.Apply(1000, 1, e)
		if a.Hash() != b.Hash() || recomputed(a) != a.Hash() {
			t.Fatalf("hashes %s, %s, recomputed %s", a.Hash(), b.Hash(), recomputed(a))
		}
		if _, err := RestoreState(bytes.NewReader(snapshotOf(t, a))); err != nil {
			t.Fatalf("restoring a written snapshot: %v", err)
		}
	})
}
