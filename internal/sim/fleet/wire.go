package sim

import (
	"bytes"
	"encoding/json"
	"strconv"

	"hm/actual"
	"hm/internal/app"
)

// The subjects of the DEAs.
const (
	subjectHeartbeat   = "dea.heartbeat"
	subjectExited      = "droplet.exited"
	subjectDEAShutdown = "dea.shutdown"
	subjectDEAStop     = "dea.stop"
)

func subjectDEAStart(id string) string { return "dea." + id + ".start" }

// appendHeartbeat encodes one DEA's list as the DEA does: droplets first, the DEA last, the same order of keys in
// every entry and no blank anywhere (N02). partition is the partition as JSON.
func appendHeartbeat(dst []byte, partition, id string, instances []*instance) []byte {
	dst = append(dst, `{"droplets":[`...)
	for i, in := range instances {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"cc_partition":`...), partition...)
		dst = appendGUID(append(dst, `,"droplet":`...), in.app.droplet)
		dst = appendGUID(append(dst, `,"version":`...), in.version)
		dst = appendGUID(append(dst, `,"instance":`...), in.guid)
		dst = strconv.AppendUint(append(dst, `,"index":`...), uint64(in.index), 10)
		dst = append(append(dst, `,"state":"`...), in.state.String()...)
		dst = appendSeconds(append(dst, `","state_timestamp":`...), in.since)
		dst = append(dst, '}')
	}
	return append(append(append(dst, `],"dea":"`...), id...), `"}`...)
}

// appendGUID encodes a guid as a JSON text. Guids are printable ASCII, so a quote and a backslash are all that
// needs escaping, and the binary forms have neither.
func appendGUID(dst []byte, g app.GUID) []byte {
	if _, form := g.Binary(); form != 0 {
		return append(g.AppendTo(append(dst, '"')), '"')
	}
	return strconv.AppendQuote(dst, g.String())
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
	return mustJSON(e)
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
	return mustJSON(deaShutdown{ID: d.id, IP: "127.0.0.1", Version: "0.0.1", Counts: counts})
}

// deaStart is dea.<id>.start (N28), with the fields that a simulated DEA and a reader of the traffic may want.
type deaStart struct {
	Partition string    `json:"cc_partition"`
	Droplet   app.GUID  `json:"droplet"`
	Name      string    `json:"name"`
	Version   app.GUID  `json:"version"`
	Index     uint32    `json:"index"`
	URIs      []string  `json:"uris"`
	Limits    deaLimits `json:"limits"`
	Env       []string  `json:"env"`
}

type deaLimits struct {
	Memory int `json:"mem"`
	Disk   int `json:"disk"`
	Files  int `json:"fds"`
}

// mustJSON encodes the package's own wire types, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sim: " + err.Error())
	}
	return b
}
