package feed

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"hm/actual"
	"hm/internal/app"
)

// Limits of a message. A larger message is refused whole.
const (
	MaxHeartbeat = 8 << 20  // bytes of a heartbeat
	MaxEvent     = 64 << 10 // bytes of a droplet.exited or droplet.updated
	MaxDepth     = 32       // levels of nested objects and arrays, the message itself included
)

var (
	// ErrTooLarge is wrapped by the error for a message that exceeds a limit.
	ErrTooLarge = errors.New("message exceeds a limit")
	// ErrMalformed is wrapped by the error for a message that does not have the form of its subject.
	ErrMalformed = errors.New("message is malformed")
)

// DecodeHeartbeat decodes a dea.heartbeat message, or the body of a POST /dea/heartbeat (N02). It keeps no reference to
// data.
//
// It refuses the whole message if it is not JSON, exceeds a limit (MaxHeartbeat, MaxDepth, actual.MaxInstances), has no
// array `droplets`, or has no `dea` that actual.ValidDEA accepts (W13): hm must know the DEA, and that the list is
// complete. Any other error loses at most one entry of the list (W14, W53).
//
// An entry is an instance if droplet, version and instance are guids and index is an integer from 0 to actual.MaxIndex
// (3, 3.0 and 3e0 are the same number). The case of state does not matter. A state that is unknown, absent or no string
// is actual.Unknown and is counted in UnknownStates. A state_timestamp that is no number is 0; a time before 1970 or
// after the year 9999 is moved to the nearer bound, since it is only shown.
//
// Other entries are left out and counted in Rejected. Their instance guids are in Unreadable. Their apps are in
// Unplaced, unless their state is CRASHED or STOPPING. null means absent. Names are case-sensitive; if a name comes
// twice, the last value counts; unknown names are ignored. If an instance guid comes twice, the last live entry counts,
// or the last entry if none is live; it takes the position of the first. The others are counted in Rejected, and the
// guid is in Contradicted unless all of them have the same app, index and state.
func DecodeHeartbeat(data []byte) (actual.Heartbeat, error) {
	if len(data) > MaxHeartbeat {
		return actual.Heartbeat{}, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxHeartbeat)
	}
	s := scanner{data: data}
	hb, ok := s.heartbeat()
	return finish(data, hb, ok, s.capitals)
}

// finish returns the heartbeat in data. hb, ok and capitals are the result of the fast decoder: the heartbeat, whether
// it could decode data, and whether a guid has capitals.
func finish(data []byte, hb actual.Heartbeat, ok, capitals bool) (actual.Heartbeat, error) {
	if !ok {
		var err error
		if hb, err = readHeartbeat(data); err != nil {
			return actual.Heartbeat{}, err
		}
	}
	var twice int
	hb.Instances, twice, hb.Contradicted = uniqueInstances(hb.Instances)
	hb.Rejected += twice
	if twice > 0 {
		if hb.UnknownStates = 0; hb.Why == "" {
			hb.Why = "an instance is listed more than once"
		}
		for i := range hb.Instances {
			if hb.Instances[i].State == actual.Unknown {
				hb.UnknownStates++
			}
		}
	}
	if !ok || capitals {
		hb.LetterCases = letterCasesOf(data)
	}
	return hb, nil
}

// roomFor makes the slice for a heartbeat's instances, in one allocation.
func roomFor(data []byte) []actual.Instance {
	n := bytes.Count(data, []byte{'{'}) // one of them belongs to the message itself
	return make([]actual.Instance, 0, min(max(n-1, 0), actual.MaxInstances))
}

// The keys of the hash table of guids. They are random, so nobody can send guids that all have the same hash.
var (
	tableKeys = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}
	tableSeed = maphash.MakeSeed()
	tables    = sync.Pool{New: func() any { return new([]uint16) }}
)

// uniqueInstances leaves one instance for each guid. It returns how many it removed, and the guids whose entries
// contradicted each other. It changes list in place.
func uniqueInstances(list []actual.Instance) (unique []actual.Instance, twice int, contradicted []app.GUID) {
	if len(list) < 2 {
		return list, 0, nil
	}
	bits := uint(2)
	for 1<<bits < 2*len(list) {
		bits++
	}
	pooled := tables.Get().(*[]uint16)
	defer tables.Put(pooled)
	if cap(*pooled) < 1<<bits {
		*pooled = make([]uint16, 1<<bits)
	}
	table := (*pooled)[:1<<bits] // positions in out, plus one; at most MaxInstances, which 16 bits hold
	clear(table)

	out, mask := list[:0], uint64(1<<bits-1)
	for i := range list {
		at := tableHash(&list[i].GUID) >> (64 - bits)
		for table[at] != 0 && out[table[at]-1].GUID != list[i].GUID {
			at = (at + 1) & mask
		}
		if table[at] != 0 {
			was := &out[table[at]-1]
			if was.App != list[i].App || was.Index != list[i].Index || was.State != list[i].State {
				contradicted = append(contradicted, was.GUID)
			}
			if list[i].State.Live() || !was.State.Live() {
				*was = list[i]
			}
			continue
		}
		if len(out) < i {
			out = append(out, list[i])
		} else {
			out = list[:i+1]
		}
		table[at] = uint16(len(out))
	}
	return out, len(list) - len(out), contradicted
}

func tableHash(g *app.GUID) uint64 {
	b, form := g.Binary()
	if form == 0 {
		return maphash.Comparable(tableSeed, *g)
	}
	return leUint64(b[:8])*tableKeys[0] + leUint64(b[8:])*tableKeys[1]
}
