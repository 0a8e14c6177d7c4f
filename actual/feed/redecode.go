package feed

import (
	"bytes"
	"slices"

	"hm/actual"
)

// maxRemembered is how many bytes of payloads a Redecoder keeps. Then it drops them all and starts again.
const maxRemembered = 1 << 30

// Redecoder decodes heartbeats like DecodeHeartbeat, but it keeps the newest payload of each DEA. It decodes only the
// new entries of the next payload and compares the others. It is for replays, which have the memory for it. The daemon
// keeps no payloads and decodes only changed ones. The zero value is ready to use. It is for one goroutine.
type Redecoder struct {
	byDEA    map[string]*payload
	size     int // bytes of all payloads
	maxBytes int // maxRemembered; less in tests

	places places // scratch
	fresh  []int  // scratch: positions of the entries that were decoded and not compared
}

// payload is a heartbeat in the usual form: no guid has capitals, no entry is rejected, no guid comes twice, and there
// is only a comma between two entries. So an entry with the same bytes has the same meaning.
type payload struct {
	text   []byte
	places places
	hb     actual.Heartbeat
}

// places are the positions of the entries in a heartbeat. The first entry begins at first. Entry i ends at ends[i], and
// the next one begins one byte later.
type places struct {
	first int
	ends  []uint32 // holds up to MaxHeartbeat
}

func (p *places) begin(at int) { p.first, p.ends = at, p.ends[:0] }
func (p *places) end(at int)   { p.ends = append(p.ends, uint32(at)) }

// start returns where entry i begins, or would begin.
func (p *places) start(i int) int {
	if i == 0 {
		return p.first
	}
	return int(p.ends[i-1]) + 1
}

// close returns the position of the closing bracket of the list.
func (p *places) close() int {
	if len(p.ends) == 0 {
		return p.first
	}
	return int(p.ends[len(p.ends)-1])
}

// plain reports whether there is only one comma between entries, and nothing before the first and after the last one.
func (p *places) plain(text []byte) bool {
	for i := range p.ends {
		if text[p.start(i)] != '{' || i > 0 && text[p.ends[i-1]] != ',' {
			return false
		}
	}
	return text[p.close()] == ']'
}

// Decode returns the same as DecodeHeartbeat. It keeps no reference to data. The caller must not change the instances:
// a later heartbeat may share them.
func (r *Redecoder) Decode(data []byte) (actual.Heartbeat, error) {
	if len(data) > MaxHeartbeat {
		return DecodeHeartbeat(data)
	}
	if p := r.byDEA[string(probableDEA(data))]; p != nil && r.update(p, data) {
		return p.hb, nil
	}
	s := scanner{data: data, places: &r.places}
	fast, ok := s.heartbeat()
	hb, err := finish(data, fast, ok, s.capitals)
	if ok && !s.capitals && hb.Rejected == 0 && r.places.plain(data) {
		r.keep(data, hb)
	}
	return hb, err
}

// probableDEA returns the DEA's id if it is where DEAs write it: first or last. A wrong id only costs time.
func probableDEA(data []byte) []byte {
	const name = `"dea":"`
	rest, first := bytes.CutPrefix(data, []byte(`{`+name))
	if !first {
		tail := data[max(len(data)-actual.MaxDEALen-len(name)-len(`"}`), 0):]
		at := bytes.LastIndex(tail, []byte(name))
		if at < 0 {
			return nil
		}
		rest = tail[at+len(name):]
	}
	id, _, _ := bytes.Cut(rest[:min(len(rest), actual.MaxDEALen+1)], []byte{'"'})
	return id
}

// keep stores a payload.
func (r *Redecoder) keep(data []byte, hb actual.Heartbeat) {
	if r.maxBytes == 0 {
		r.maxBytes = maxRemembered
	}
	if r.byDEA == nil || r.size+len(data) > r.maxBytes {
		r.byDEA, r.size = map[string]*payload{}, 0
	}
	p := r.byDEA[hb.DEA]
	if p == nil {
		p = &payload{}
		r.byDEA[hb.DEA] = p
	}
	p.hb = hb
	r.store(p, data)
}

// store sets the text of p, and its places to the ones that were found in the text.
func (r *Redecoder) store(p *payload, data []byte) {
	r.size += len(data) - len(p.text)
	p.text = append(p.text[:0], data...)
	p.places.first, p.places.ends = r.places.first, append(p.places.ends[:0], r.places.ends...)
}

// lookAhead is how many removed entries find skips to find the next entry that is still there.
const lookAhead = 8

// update decodes a payload that is mostly equal to p, and stores it in p. It returns false, and does not change p, if
// data does not have the form of a payload; data may still be a heartbeat.
func (r *Redecoder) update(p *payload, data []byte) bool {
	old, first := p.hb.Instances, p.places.first
	if len(data) <= first || !bytes.Equal(data[:first], p.text[:first]) {
		return false
	}
	r.places.begin(first)
	r.fresh = r.fresh[:0]
	var list []actual.Instance
	from, to := 0, 0 // the range of p's entries that flush appends next
	flush := func() {
		if list == nil {
			list = make([]actual.Instance, 0, len(old)+1)
		}
		list = append(list, old[from:to]...)
	}
	n, next := 0, 0 // number of entries so far; the entry of p that probably comes next
	passed := false // the entry of p before next was not found
	at := first
	for data[at] != ']' || n > 0 {
		if n == actual.MaxInstances {
			return false
		}
		was, end := p.find(data, at, next, passed)
		if was < 0 {
			s, in := scanner{data: data, i: at}, actual.Instance{}
			if data[at] != '{' || !s.entry(&in) || s.capitals {
				return false
			}
			end = s.i
			flush()
			list = append(list, in)
			r.fresh = append(r.fresh, n)
			if next < len(old) { // it probably replaces that one
				next, passed = next+1, true
			}
			from, to = next, next
		} else {
			if was != to {
				flush()
				from = was
			}
			to = was + 1
			next, passed = max(next, to), false
		}
		r.places.end(end)
		n++
		if end >= len(data)-1 || data[end] != ',' {
			break
		}
		at = end + 1
	}
	if !bytes.Equal(data[r.places.close():], p.text[p.places.close():]) {
		return false
	}
	if list == nil {
		list = old[from:to:to]
	} else {
		flush()
	}
	if r.repeated(list) {
		return false
	}
	p.hb.Instances = list
	r.store(p, data)
	return true
}

// find returns which of p's entries is at position at of data, and where it ends. It returns -1 if none of them is
// there.
func (p *payload) find(data []byte, at, next int, passed bool) (was, end int) {
	rest := data[at:]
	to := min(next+lookAhead, len(p.places.ends))
	for i := next; i < to; i++ {
		if text := p.text[p.places.start(i):p.places.ends[i]]; bytes.HasPrefix(rest, text) {
			return i, at + len(text)
		}
	}
	if passed {
		if text := p.text[p.places.start(next-1):p.places.ends[next-1]]; bytes.HasPrefix(rest, text) {
			return next - 1, at + len(text)
		}
	}
	return -1, 0
}

// fewPairs is the number of comparisons up to which comparing guids one by one is as fast as a table.
const fewPairs = 4096

// repeated reports whether a guid comes twice in list. Only the fresh entries can be equal to others.
func (r *Redecoder) repeated(list []actual.Instance) bool {
	if len(r.fresh)*len(list) > fewPairs {
		_, twice, _ := uniqueInstances(slices.Clone(list))
		return twice > 0
	}
	for _, f := range r.fresh {
		for i := range list {
			if i != f && list[i].GUID == list[f].GUID {
				return true
			}
		}
	}
	return false
}
