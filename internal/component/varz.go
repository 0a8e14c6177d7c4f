package component

import (
	"encoding/json"
	"runtime"
	"sync"
	"time"
)

// varzAge is how long an answer to /varz is used again. The components of that time did likewise.
const varzAge = time.Second

// varzCache shares one answer among all requests within varzAge.
type varzCache struct {
	mu   sync.Mutex // held while an answer is made: the other requests wait for it
	made time.Time
	body []byte
}

// get gives the newest answer, or lets make make one if it is too old.
func (v *varzCache) get(make func() []byte) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.body == nil || time.Since(v.made) >= varzAge {
		v.body, v.made = make(), time.Now()
	}
	return v.body
}

// common are the members that the varz of every component had.
type common struct {
	identity
	Mem      int64    `json:"mem"` // resident memory of the process in KiB
	CPU      float64  `json:"cpu"` // processor time of the process in percent of the time since its start
	NumCores int      `json:"num_cores"`
	Config   struct{} `json:"config"` // always empty: a configuration has secrets
}

// makeVarz makes the answer to /varz.
func (c *Component) makeVarz() []byte {
	now := common{identity: c.self.after(time.Since(c.began)), NumCores: runtime.NumCPU()}
	now.Mem, now.CPU = processUsage()
	var answer any
	if c.opts.Type == HM9000 {
		answer = hm9000Varz(now, runtimeOf(), c.opts.Figures(), c.opts.ReadTook())
	} else {
		answer = healthManagerVarz(now, c.opts.Figures(), c.opts.ReadTook(), c.users.known())
	}
	return encodeVarz(answer)
}

func encodeVarz(answer any) []byte {
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		panic(err) // texts and finite numbers can always be encoded
	}
	return append(text, '\n')
}
