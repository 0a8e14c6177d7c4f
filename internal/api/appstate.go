package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// bulkPath is the endpoint that a Cloud Controller asks over HTTP (N40).
const bulkPath = "/bulk_app_state"

// maxAsked is how many apps one request may ask for. A Cloud Controller asks for 50 at a time (N39).
const maxAsked = 20_000

// appAsked is one app, in one version, that a Cloud Controller asks for.
type appAsked struct {
	Droplet string `json:"droplet"`
	Version string `json:"version"`
}

func (a appAsked) key() (spelledKey, bool) {
	d, err := app.ParseGUID(a.Droplet)
	if err != nil {
		return spelledKey{}, false
	}
	v, err := app.ParseGUID(a.Version)
	return spelledKey{
		app.Key{Droplet: d, Version: v},
		app.KeyLetterCase{Droplet: app.LetterCaseOf(d, a.Droplet), Version: app.LetterCaseOf(v, a.Version)},
	}, err == nil
}

// spelledKey is an app with the letter case in which the Cloud Controller writes it. It looks for that text in the
// answer.
type spelledKey struct {
	app.Key
	capitals app.KeyLetterCase
}

func (k spelledKey) compare(o spelledKey) int {
	return cmp.Or(k.Compare(o.Key), cmp.Compare(k.capitals.Droplet, o.capitals.Droplet))
}

var emptyObject = []byte("{}")

// AppObjects answers with app objects (N41) from a recorded state.
type AppObjects struct {
	View *raftfsm.State
	Wall Wall
	// Desired adds the member desired to an app that is desired, as HM9000 did until May 2016.
	Desired bool
}

// One answers an app.state request (N38): the app object, or {} if the record is not fresh, if the request cannot be
// read, or if no instance of the app is recorded.
func (o AppObjects) One(fresh bool, request []byte) []byte {
	var asked appAsked
	if !fresh || json.Unmarshal(request, &asked) != nil {
		return emptyObject
	}
	key, ok := asked.key()
	if !ok {
		return emptyObject
	}
	object, found := o.appendApp(nil, key, nil)
	if !found {
		return emptyObject
	}
	return object
}

// Bulk answers an app.state.bulk request (N39), and POST /bulk_app_state (N40): an object from app guid to app object,
// without the apps that are not found; {} if the record is not fresh or the request cannot be read. If the request has
// two versions of an app and both are found, the answer has the later one.
func (o AppObjects) Bulk(fresh bool, request []byte) []byte {
	var out bytes.Buffer
	o.writeBulk(&out, fresh, request)
	return out.Bytes()
}

// bulkWriter receives a bulk answer, app by app.
type bulkWriter interface {
	Write(p []byte) (int, error)
}

func (o AppObjects) writeBulk(w bulkWriter, fresh bool, request []byte) {
	keys := o.bulkKeys(fresh, request)
	var object []byte
	var instances []actual.Located
	object = append(object, '{')
	for i, k := range keys {
		if i > 0 {
			object = append(object, ',')
		}
		object = appendGUID(object, k.Droplet, k.capitals.Droplet)
		object = append(object, ':')
		object, _ = o.appendApp(object, k, &instances)
		if len(object) > 64<<10 {
			if _, err := w.Write(object); err != nil {
				return
			}
			object = object[:0]
		}
	}
	_, _ = w.Write(append(object, '}')) // an error means that the client is gone
}

// leftOut says which apps were left out of an answer.
type leftOut struct {
	apps    int
	largest string // app guid of the largest
	whole   int    // bytes of the answer if it had all apps; of an answer of several replies, those of the apps left out
	size    int    // bytes of the largest, if they are added one by one
}

// add leaves out one more app.
func (l *leftOut) add(droplet string, size int) {
	l.apps++
	l.whole += size
	if size > l.size {
		l.size, l.largest = size, droplet
	}
}

// fitBulk gives a bulk answer of at most limit bytes. If not all apps fit, it leaves out the largest, so that the
// answer has as many apps as possible.
func (o AppObjects) fitBulk(keys []spelledKey, limit int) ([]byte, leftOut) {
	var scratch []actual.Located
	member := func(dst []byte, k spelledKey) []byte {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(appendGUID(dst, k.Droplet, k.capitals.Droplet), ':')
		dst, _ = o.appendApp(dst, k, &scratch)
		return dst
	}
	type sized struct {
		key  spelledKey
		size int // with the comma before it
	}
	out, whole := []byte{'{'}, 2
	apps := make([]sized, 0, len(keys))
	for _, k := range keys {
		before := len(out)
		out = member(out, k)
		size := len(out) - before
		if before == 1 && len(apps) > 0 {
			size++ // the comma before it, if another app is before it in the end
		}
		apps = append(apps, sized{k, size})
		if whole += size; whole > limit {
			out = out[:1] // from here on only the sizes are needed
		}
	}
	if whole <= limit {
		return append(out, '}'), leftOut{}
	}
	slices.SortStableFunc(apps, func(a, b sized) int { return cmp.Compare(a.size, b.size) })
	fit, total := 0, 2
	for fit < len(apps) && total+apps[fit].size <= limit {
		total += apps[fit].size
		fit++
	}
	left := leftOut{apps: len(apps) - fit, largest: apps[len(apps)-1].key.Droplet.String(), whole: whole}
	stay := apps[:fit]
	slices.SortFunc(stay, func(a, b sized) int { return a.key.compare(b.key) })
	out = append(out[:0], '{')
	for _, a := range stay {
		out = member(out, a.key)
	}
	return append(out, '}'), left
}

// bulkKeys gives the apps to answer with, sorted: one version for each droplet, and only those with instances.
func (o AppObjects) bulkKeys(fresh bool, request []byte) []spelledKey {
	var asked []appAsked
	if !fresh || json.Unmarshal(request, &asked) != nil || len(asked) > maxAsked {
		return nil
	}
	type spelled struct {
		droplet  app.GUID
		capitals app.LetterCase
	}
	found := make(map[spelled]spelledKey, len(asked))
	for _, a := range asked {
		key, ok := a.key()
		if !ok {
			continue
		}
		if rec, ok := o.View.App(key.Key); ok && rec.Instances > 0 {
			found[spelled{key.Droplet, key.capitals.Droplet}] = key
		}
	}
	keys := make([]spelledKey, 0, len(found))
	for _, k := range found {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, spelledKey.compare)
	return keys
}

// appendApp appends the app object (N41). found is false, and nothing is appended, if no instance is recorded.
func (o AppObjects) appendApp(dst []byte, k spelledKey, scratch *[]actual.Located) (_ []byte, found bool) {
	if scratch == nil {
		scratch = new([]actual.Located)
	}
	*scratch = o.View.Instances((*scratch)[:0], k.Key)
	if len(*scratch) == 0 {
		return dst, false
	}
	identity := func(dst []byte) []byte {
		dst = append(dst, `{"droplet":`...)
		dst = appendGUID(dst, k.Droplet, k.capitals.Droplet)
		dst = append(dst, `,"version":`...)
		return appendGUID(dst, k.Version, k.capitals.Version)
	}
	dst = identity(dst)
	if o.Desired {
		dst = o.appendDesired(dst, k)
	}
	dst = append(dst, `,"instance_heartbeats":[`...)
	for i := range *scratch {
		inst := &(*scratch)[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = identity(dst)
		dst = append(dst, `,"instance":`...)
		dst = appendString(dst, inst.GUID)
		dst = append(dst, `,"index":`...)
		dst = strconv.AppendUint(dst, uint64(inst.Index), 10)
		dst = append(dst, `,"state":"`...)
		dst = append(dst, inst.State.String()...)
		dst = append(dst, `","state_timestamp":`...)
		dst = appendSeconds(dst, inst.Since)
		dst = append(dst, `,"dea_guid":`...)
		dst = appendText(dst, inst.DEA)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"crash_counts":[`...)
	first := true
	for _, c := range o.View.Crashes(k.Key) {
		if c.Count == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = identity(dst)
		dst = append(dst, `,"instance_index":`...)
		dst = strconv.AppendUint(dst, uint64(c.Index), 10)
		dst = append(dst, `,"crash_count":`...)
		dst = strconv.AppendUint(dst, uint64(c.Count), 10)
		dst = append(dst, `,"created_at":`...)
		dst = strconv.AppendInt(dst, o.Wall.Time(c.First).Unix(), 10)
		dst = append(dst, '}')
	}
	return append(dst, `]}`...), true
}

// appendDesired appends the member desired of an app that is desired.
func (o AppObjects) appendDesired(dst []byte, k spelledKey) []byte {
	rec, _ := o.View.App(k.Key)
	row := rec.Desired
	if !row.Wanted() {
		return dst
	}
	dst = append(dst, `,"desired":{"id":`...)
	dst = appendGUID(dst, k.Droplet, k.capitals.Droplet)
	dst = append(dst, `,"version":`...)
	dst = appendGUID(dst, k.Version, k.capitals.Version)
	dst = append(dst, `,"instances":`...)
	dst = strconv.AppendUint(dst, uint64(row.Instances), 10)
	dst = append(dst, `,"state":`...)
	dst = appendText(dst, row.State.String())
	dst = append(dst, `,"package_state":`...)
	dst = appendText(dst, row.Package.String())
	return append(dst, '}')
}

// appendSeconds appends milliseconds since the epoch as seconds, with a fraction only if there is one.
func appendSeconds(dst []byte, ms int64) []byte {
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if f := ms % 1000; f > 0 {
		dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
		dst = bytes.TrimRight(dst, "0")
	}
	return dst
}

// appendGUID appends a guid, written in the letter case c, as a JSON string.
func appendGUID(dst []byte, g app.GUID, c app.LetterCase) []byte {
	if c == 0 {
		return appendString(dst, g)
	}
	return appendText(dst, c.Spell(g))
}

// appendString appends a guid as a JSON string.
func appendString(dst []byte, g app.GUID) []byte {
	if _, form := g.Binary(); form == 0 {
		return appendText(dst, g.String())
	}
	dst = append(dst, '"')
	dst = g.AppendTo(dst)
	return append(dst, '"')
}

func appendText(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
}

// bulkAppState answers POST /bulk_app_state: always 200 (N40).
func (s *Server) bulkAppState(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	var request bytes.Buffer
	if _, err := request.ReadFrom(r.Body); err != nil {
		_, _ = w.Write(emptyObject) // an error means that the client is gone
		return nil
	}
	n, fresh := s.snapshotForQuery()
	s.appObjects(n).writeBulk(w, fresh, request.Bytes())
	return nil
}

func (s *Server) appObjects(n snapshot) AppObjects {
	return AppObjects{View: n.view, Wall: n.wall, Desired: s.opts.AppStateDesired}
}
