package conformance

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Age is the time that a DEA is of. What it sends differs (N01, N03, N11).
type Age int

// The ages of DEAs.
const (
	DEA2013 Age = iota // no heartbeat without an instance; EVACUATING is unknown; exits with all four reasons
	DEA2014            // EVACUATING; exits CRASHED and DEA_EVACUATION
	DEA2015            // an empty list is sent
	DEA2016            // only CRASHED exits
)

// Instance is an app instance on a DEA.
type Instance struct {
	Droplet, Version string
	GUID             string
	Index            int
	State            string
	Since            float64 // seconds since the epoch
}

// DEA is a DEA that speaks over NATS.
type DEA struct {
	nc  *nats.Conn
	age Age

	mu        sync.Mutex
	uuid      string
	instances []*Instance
	silent    bool
	slow      bool                // what it is told to run stays STARTING
	more      string              // further members of each heartbeat, each followed by a comma
	rewrite   func(string) string // changes each heartbeat before it is sent
}

// NewDEA makes a DEA. It sends nothing by itself: Beat sends a heartbeat.
func NewDEA(nc *nats.Conn, age Age) *DEA { return &DEA{nc: nc, age: age, uuid: NewUUID()} }

// NewUUID gives a random uuid.
func NewUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// NewInstanceGUID gives an instance guid as DEAs made them: 32 hex digits.
func NewInstanceGUID() string { return strings.ReplaceAll(NewUUID(), "-", "") }

// UUID is the id of the DEA's process.
func (d *DEA) UUID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.uuid
}

// Run adds a running instance, and sends a heartbeat as a DEA does when an instance begins to run (N04). On a slow DEA the
// instance stays STARTING.
func (d *DEA) Run(droplet, version string, index int) *Instance {
	return d.add(Instance{Droplet: droplet, Version: version, GUID: NewInstanceGUID(), Index: index, State: "RUNNING"})
}

func (d *DEA) add(i Instance) *Instance {
	i.Since = float64(time.Now().UnixMicro()) / 1e6
	d.mu.Lock()
	if d.slow && i.State == "RUNNING" {
		i.State = "STARTING"
	}
	d.instances = append(d.instances, &i)
	d.mu.Unlock()
	d.Beat()
	return &i
}

// Slow makes the DEA keep STARTING what it is told to run, or lets all of that run.
func (d *DEA) Slow(on bool) {
	d.mu.Lock()
	d.slow = on
	if !on {
		for _, i := range d.instances {
			if i.State == "STARTING" {
				i.State, i.Since = "RUNNING", float64(time.Now().UnixMicro())/1e6
			}
		}
	}
	d.mu.Unlock()
	d.Beat()
}

// Set changes the state of an instance. The next heartbeat shows it.
func (d *DEA) Set(i *Instance, state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i.State, i.Since = state, float64(time.Now().UnixMicro())/1e6
}

// Edit changes the DEA in one step.
func (d *DEA) Edit(change func(d *DEA)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// Remove takes an instance off the list, as after a stop (N03).
func (d *DEA) Remove(guid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(guid)
}

func (d *DEA) remove(guid string) {
	d.instances = slices.DeleteFunc(d.instances, func(i *Instance) bool { return i.GUID == guid })
}

// Has reports whether the DEA lists an instance.
func (d *DEA) Has(guid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.instances, func(i *Instance) bool { return i.GUID == guid })
}

// Silence stops the heartbeats, or lets them go on.
func (d *DEA) Silence(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = on
}

// Heartbeat gives the message that the DEA would send now; empty if it would send none.
func (d *DEA) Heartbeat() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heartbeat()
}

func (d *DEA) heartbeat() string {
	var entries []string
	for _, i := range d.instances {
		entries = append(entries, i.entry())
	}
	if len(entries) == 0 && d.age < DEA2015 {
		return ""
	}
	return fmt.Sprintf(`{%s"droplets":[%s],"dea":%q}`, d.more, strings.Join(entries, ","), d.uuid)
}

// entry is an element of a heartbeat's droplets (N02).
func (i *Instance) entry() string {
	return fmt.Sprintf(`{"cc_partition":"default","droplet":%q,"version":%q,"instance":%q,"index":%d,"state":%q,"state_timestamp":%.6f}`,
		i.Droplet, i.Version, i.GUID, i.Index, i.State, i.Since)
}

// Beat sends a heartbeat, unless the DEA is silent.
func (d *DEA) Beat() {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := d.heartbeat()
	if text == "" || d.silent {
		return
	}
	if d.rewrite != nil {
		text = d.rewrite(text)
	}
	_ = d.nc.Publish("dea.heartbeat", []byte(text)) // a lost connection shows as a missing heartbeat
}

// Exit publishes a droplet.exited (N10). edit changes the text, or is nil.
func (d *DEA) Exit(i Instance, reason string, edit func(string) string) {
	more := ""
	if reason == "CRASHED" {
		more = fmt.Sprintf(`,"crash_timestamp":%d`, time.Now().Unix())
	}
	text := fmt.Sprintf(`{"cc_partition":"default","droplet":%q,"version":%q,"instance":%q,"index":%d,"reason":%q,"exit_status":-1,"exit_description":"app instance exited"%s}`,
		i.Droplet, i.Version, i.GUID, i.Index, reason, more)
	if edit != nil {
		text = edit(text)
	}
	_ = d.nc.Publish("droplet.exited", []byte(text))
}
