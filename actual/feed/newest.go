package feed

import (
	"bytes"
	"time"

	"hm/internal/app"
	"hm/internal/bus"
)

// pausesPerPeriod is how many of a DEA's heartbeats are decoded in a heartbeat period, at most, when decoding takes much
// of a processor. A DEA sends its whole list again each time an instance begins to run (N04), so in a storm of starts it
// sends many a second.
const pausesPerPeriod = 10

// newestHeartbeats says that of a DEA's heartbeats that wait only the newest counts. A heartbeat is a full list (N03).
func (f *Feed) newestHeartbeats(period time.Duration) *bus.Newest {
	return &bus.Newest{
		Arrived: f.arrived(&f.heartbeats),
		Sender:  Sender,
		Replaces: func(newer, older []byte) bool {
			replaced := listsSame(newer, older)
			if replaced {
				f.heartbeats.superseded.Add(1)
			}
			return replaced
		},
		MaxPause: period / pausesPerPeriod,
	}
}

var (
	instanceName = []byte(`"instance"`)
	emptyList    = []byte(`"droplets":[]`)
)

// listsSame reports whether a heartbeat is from the DEA that sent an older one under the same id, which two DEAs may use
// (W12). An instance never moves from one DEA to another, so it is if it lists the first instance of the older one. If
// not, it may be from either. A list without an instance may be replaced: it says nothing about any DEA's instances.
func listsSame(newer, older []byte) bool {
	at := bytes.Index(older, instanceName)
	if at < 0 {
		return bytes.Contains(older, emptyList)
	}
	rest := older[at+len(instanceName):]
	from := bytes.IndexByte(rest, '"')
	if from < 0 {
		return false
	}
	n := bytes.IndexByte(rest[from+1:], '"')
	if n < minGUIDText || n > app.MaxGUIDLen {
		return false
	}
	return bytes.Contains(newer, rest[from:from+1+n+1]) // with its quotes
}

// minGUIDText is the length in bytes from which on a text does not come twice in a heartbeat by chance.
const minGUIDText = 16
