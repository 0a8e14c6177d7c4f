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

// Limits of what is decoded. A message beyond them is refused whole.
const (
	MaxHeartbeat = 8 << 20  // bytes of a heartbeat
	MaxEvent     = 64 << 10 // bytes of a droplet.exited or droplet.updated
	MaxDepth     = 32       // objects and arrays within one another, the message itself included
)

var (
	// ErrTooLarge is wrapped by the refusal of a message that exceeds a limit.
	ErrTooLarge = errors.New("message exceeds a limit")
	// ErrMalformed is wrapped by the refusal of a message that is not what its subject demands.
	ErrMalformed = errors.New("message is malformed")
)

// DecodeHeartbeat reads a dea.heartbeat or the body of a POST /dea/heartbeat (N02). It keeps no reference to data.
//
// The message is refused whole when it is not JSON, exceeds a limit (MaxHeartbeat, MaxDepth,
// actual.MaxInstances), has no array `droplets`, or no `dea` that actual.ValidDEA accepts (W13): who speaks and
// that the list is all of it must be certain. Everything else costs at most the entry that it is in (W14, W53):
// an entry is an instance when droplet, version and instance are guids and index is an integer from 0 to
// actual.MaxIndex (3, 3.0 and 3e0 are the same number). Words of state are taken in any case; one that hm does not know,
// none, or a state of another type is actual.Unknown, and counted in UnknownStates. A state_timestamp that is no number
// is 0; one outside the years 1970 to 9999 is moved to the nearer end: it is only ever shown.
//
// Other entries are left out and counted in Rejected. The instances that they name are in Unreadable, and the apps of
// those that are not CRASHED and not on their way out in Unplaced. null means absent. Names are case-sensitive; of a
// name given twice the last counts; unknown ones are passed over, whatever is in them. When one instance guid comes twice
// the last live entry counts, or else the last, in the place of the first; the other is counted in Rejected, and the
// guid is in Contradicted unless both say the same of what runs.
func DecodeHeartbeat(data []byte) (actual.Heartbeat, error) {
	if len(data) > MaxHeartbeat {
		return actual.Heartbeat{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxHeartbeat)
	}
	s := scanner{data: data}
	hb, ok := s.heartbeat()
	return completed(data, hb, ok, s.capitals)
}

// completed gives what data says, of which the quick way gave hb, whether that is it, and whether there are capitals.
func completed(data []byte, hb actual.Heartbeat, ok, capitals bool) (actual.Heartbeat, error) {
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
		hb.Capitals = capitalsOf(data)
	}
	return hb, nil
}

// roomFor makes the slice for a heartbeat's instances, with one allocation for what data can hold.
func roomFor(data []byte) []actual.Instance {
	n := bytes.Count(data, []byte{'{'}) // one of them is the message's own
	return make([]actual.Instance, 0, min(max(n-1, 0), actual.MaxInstances))
}

// The keys of the guid table's hash. They are random, so that nobody can send guids that all fall into one place.
var (
	tableKeys = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}
	tableSeed = maphash.MakeSeed()
	tables    = sync.Pool{New: func() any { return new([]uint16) }}
)

// uniqueInstances leaves one instance for each guid, and says how many it took out and which guids had contradicting
// ones. It works in place.
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
