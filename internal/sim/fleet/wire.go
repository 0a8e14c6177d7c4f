package fleet

import (
	"bytes"
	"strconv"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// The subjects on which DEAs publish.
const (
	subjectHeartbeat   = "dea.heartbeat"
	subjectExited      = "droplet.exited"
	subjectDEAShutdown = "dea.shutdown"
)

// appendHeartbeat encodes one DEA's list as the DEA does: droplets first, the DEA last, the same order of keys in
// every entry and no blank anywhere (N02). partition is the partition as JSON.
func appendHeartbeat(dst []byte, partition, id string, instances []*instance) []byte {
	dst = append(dst, `{"droplets":[`...)
	for i, in := range instances {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"cc_partition":`...), partition...)
		dst = wire.AppendGUID(append(dst, `,"droplet":`...), in.app.droplet)
		dst = wire.AppendGUID(append(dst, `,"version":`...), in.version)
		dst = wire.AppendGUID(append(dst, `,"instance":`...), in.guid)
		dst = strconv.AppendUint(append(dst, `,"index":`...), uint64(in.index), 10)
		dst = append(append(dst, `,"state":"`...), in.state.String()...)
		dst = appendSeconds(append(dst, `","state_timestamp":`...), in.since)
		dst = append(dst, '}')
	}
	return append(append(append(dst, `],"dea":"`...), id...), `"}`...)
}

// appendSeconds encodes microseconds since the epoch as Ruby writes a float of seconds: as short as it can be,
// never without a decimal point.
func appendSeconds(dst []byte, micros int64) []byte {
	from := len(dst)
	dst = strconv.AppendFloat(dst, float64(micros)/1e6, 'f', -1, 64)
	if !bytes.ContainsRune(dst[from:], '.') {
		dst = append(dst, ".0"...)
	}
	return dst
}

// exited is droplet.exited (N10).
type exited struct {
	Partition      string   `json:"cc_partition"`
	Droplet        app.GUID `json:"droplet"`
	Version        app.GUID `json:"version"`
	Instance       app.GUID `json:"instance"`
	Index          uint32   `json:"index"`
	Reason         string   `json:"reason"`
	ExitStatus     int      `json:"exit_status"`
	Description    string   `json:"exit_description"`
	CrashTimestamp int64    `json:"crash_timestamp,omitempty"` // epoch seconds, of a crash only
}

func encodeExit(partition string, in *instance, reason actual.ExitReason, why string) []byte {
	e := exited{Partition: partition, Droplet: in.app.droplet, Version: in.version, Instance: in.guid, Index: in.index,
		Reason: reason.String(), ExitStatus: -1, Description: why}
	if reason == actual.ExitCrashed {
		e.ExitStatus, e.CrashTimestamp = 255, in.since/1e6
	}
	return wire.MustJSON(e)
}

// deaShutdown is dea.shutdown (N14).
type deaShutdown struct {
	ID      string         `json:"id"`
	IP      string         `json:"ip"`
	Version string         `json:"version"`
	Counts  map[string]int `json:"app_id_to_count"`
}

func encodeDEAShutdown(d *dea) []byte {
	counts := map[string]int{}
	for _, in := range d.instances {
		if in.state != actual.Crashed {
			counts[in.app.droplet.String()]++
		}
	}
	return wire.MustJSON(deaShutdown{ID: d.id, IP: "127.0.0.1", Version: "0.0.1", Counts: counts})
}
