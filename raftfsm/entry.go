package raftfsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// Entry is one entry of the Raft log.
type Entry struct {
	At      app.Time // hm time, set by the leader; never earlier than the entry before
	Records []Record
}

// MaxEntry is the largest size of an encoded entry in bytes. Split cuts records to fit.
const MaxEntry = 512 << 10

// maxDecode is the largest size that DecodeEntry accepts. It is more than MaxEntry, so that a later version can raise
// MaxEntry and be rolled out node by node.
const maxDecode = 8 * MaxEntry

// EncodeEntry returns the bytes of an entry for the log. It fails if they are more than MaxEntry, or if a record is
// not one of this package's record types.
func EncodeEntry(e Entry) ([]byte, error) {
	m := wire.Entry{At: int64(e.At), Records: make([]*wire.Rec, len(e.Records))}
	for i, r := range e.Records {
		if r == nil || r.Kind() == 0 || r.Kind() > MaxKind {
			return nil, fmt.Errorf("encoding record %d: %w: this version knows no record of type %T", i, ErrInvalid, r)
		}
		k := &kinds[r.Kind()]
		body, err := k.encode(r)
		if err != nil {
			return nil, fmt.Errorf("encoding record %d (%s): %w", i, k.name, err)
		}
		m.Records[i] = &wire.Rec{Kind: uint32(k.number), Ignorable: k.ignorable, Body: body}
	}
	b, err := marshal(&m)
	if err != nil {
		return nil, fmt.Errorf("encoding an entry: %w", err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("encoding an entry: %w: it has %d bytes, at most %d are allowed; split its records over several entries",
			ErrInvalid, len(b), MaxEntry)
	}
	return b, nil
}

// DecodeEntry reads an entry that EncodeEntry wrote. It fails on anything that this version does not know, because a
// node that ignores a part of an entry has another state than the others. Only a record of an unknown kind that is
// marked as ignorable becomes an Unknown.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) > maxDecode {
		return Entry{}, fmt.Errorf("decoding an entry: %d bytes, at most %d are allowed", len(b), maxDecode)
	}
	var m wire.Entry
	if err := unmarshal(b, &m); err != nil {
		return Entry{}, fmt.Errorf("decoding an entry: %w", err)
	}
	e := Entry{At: app.Time(m.At)}
	if len(m.Records) > 0 {
		e.Records = make([]Record, len(m.Records))
	}
	for i, w := range m.Records {
		r, err := decodeRecord(w)
		if err != nil {
			return Entry{}, fmt.Errorf("decoding record %d (%s) of an entry: %w", i, Kind(w.Kind), err)
		}
		e.Records[i] = r
	}
	return e, nil
}

// EntryTime gives the time of an encoded entry, without decoding its records; 0 if there is none.
func EntryTime(entry []byte) (at app.Time) {
	_ = eachField(entry, func(n protowire.Number, t protowire.Type, v []byte) error {
		if n == fieldAt && t == protowire.VarintType {
			x, _ := protowire.ConsumeVarint(v)
			at = app.Time(x)
		}
		return nil
	})
	return at
}

func decodeRecord(w *wire.Rec) (Record, error) {
	k := Kind(w.Kind)
	switch {
	case k > 0 && k <= MaxKind:
		if err := known(w); err != nil {
			return nil, err
		}
		return kinds[k].decode(w.Body)
	case k == 0: // no version writes it
		return nil, errors.New("the record has no kind")
	case w.Ignorable:
		return Unknown{Number: k}, nil
	}
	return nil, fmt.Errorf("this version does not know the kind, and the kind is not ignorable: %w", ErrNewer)
}
