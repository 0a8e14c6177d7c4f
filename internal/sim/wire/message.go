// Package wire is what the simulated Cloud Controller and the simulated fleet share without knowing each other: the
// messages that one sends to the other, the form of ids, and the kinds of errors.
package wire

import (
	"encoding/json"
	"strconv"

	"hm/internal/app"
)

// SubjectDEAStop is the subject on which every DEA gets stop messages.
const SubjectDEAStop = "dea.stop"

// SubjectDEAFind is the subject on which every DEA is asked for instances: the body is a Stop, each instance that it
// names is a reply of type Found.
const SubjectDEAFind = "dea.find.droplet"

// SubjectDEAStart is the subject on which one DEA gets its start messages.
func SubjectDEAStart(id string) string { return "dea." + id + ".start" }

// Message is a message to publish.
type Message struct {
	Subject string
	Data    []byte
}

// Start is dea.<id>.start (N28), with the fields that a simulated DEA and a reader of the traffic may want.
type Start struct {
	Partition string   `json:"cc_partition"`
	Droplet   app.GUID `json:"droplet"`
	Name      string   `json:"name"`
	Version   app.GUID `json:"version"`
	Index     uint32   `json:"index"`
	URIs      []string `json:"uris"`
	Limits    Limits   `json:"limits"`
	Env       []string `json:"env"`
}

// Limits are what an instance may use.
type Limits struct {
	Memory int `json:"mem"`  // MiB
	Disk   int `json:"disk"` // MiB
	Files  int `json:"fds"`
}

// Stop is dea.stop (N29): a filter of the instances to stop. An empty field filters nothing.
type Stop struct {
	Droplet   app.GUID   `json:"droplet"`
	Version   app.GUID   `json:"version,omitzero"`
	Instances []app.GUID `json:"instances,omitempty"`
	Indices   []uint32   `json:"indices,omitempty"`
	States    []string   `json:"states,omitempty"`
}

// Found is a DEA's reply to dea.find.droplet.
type Found struct {
	DEA      string   `json:"dea"`
	Droplet  app.GUID `json:"droplet"`
	Version  app.GUID `json:"version"`
	Instance app.GUID `json:"instance"`
	Index    uint32   `json:"index"`
	State    string   `json:"state"`
	Since    float64  `json:"state_timestamp"` // seconds since the epoch
}

// AppendGUID encodes a guid as JSON. Guids are printable ASCII, so a quote and a backslash are all that needs
// escaping, and the binary forms have neither.
func AppendGUID(dst []byte, g app.GUID) []byte {
	if _, form := g.Binary(); form != 0 {
		return append(g.AppendTo(append(dst, '"')), '"')
	}
	return strconv.AppendQuote(dst, g.String())
}

// MustJSON encodes the simulation's own types, which cannot fail.
func MustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sim: " + err.Error())
	}
	return b
}
