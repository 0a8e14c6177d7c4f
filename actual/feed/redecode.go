package feed

import (
	"bytes"
	"slices"

	"hm/actual"
)

// maxRemembered is how many bytes of payloads a Redecoder keeps at most. Beyond it, it begins anew.
const maxRemembered = 1 << 30

// Redecoder decodes heartbeats as DecodeHeartbeat does, and remembers what each DEA said last: of the next payload
// only the entries that are new are read, the others are compared. It is made for a replay, where the memory is there,
// and not for the daemon, which looks only at payloads that have changed and keeps none. The zero value remembers
// nothing. It is for one goroutine.
type Redecoder struct {
	of       map[string]*payload // by DEA
	size     int                 // bytes kept
	maxBytes int                 // maxRemembered; less in tests

	places places // scratch
	fresh  []int  // scratch: positions in a list of what was read and not compared
}

// payload is a heartbeat without capitals in guids, in which every entry counts, no guid comes twice, and nothing but a comma is between two
// entries. So an entry of the same bytes in the place of an entry can only mean the same.
type payload struct {
	text   []byte
	places places
	hb     actual.Heartbeat
}

// places says where the entries of a heartbeat are: the first begins at first, each ends at one of ends and the next
// begins one byte further on.
type places struct {
	first int
	ends  []uint32 // MaxHeartbeat fits
}

func (p *places) begin(at int) { p.first, p.ends = at, p.ends[:0] }
func (p *places) end(at int)   { p.ends = append(p.ends, uint32(at)) }

// start gives where entry i begins, or would begin.
func (p *places) start(i int) int {
	if i == 0 {
		return p.first
	}
	return int(p.ends[i-1]) + 1
}

// close gives where the list is over, at the closing bracket.
func (p *places) close() int {
	if len(p.ends) == 0 {
		return p.first
	}
	return int(p.ends[len(p.ends)-1])
}

// plain reports whether there is nothing but one comma between entries, and nothing before the first and behind the
// last.
func (p *places) plain(text []byte) bool {
	for i := range p.ends {
		if text[p.start(i)] != '{' || i > 0 && text[p.ends[i-1]] != ',' {
			return false
		}
	}
	return text[p.close()] == ']'
}

// Decode gives what DecodeHeartbeat gives. It keeps no reference to data. The instances must not be changed: a later
// heartbeat may share them.
func (r *Redecoder) Decode(data []byte) (actual.Heartbeat, error) {
	if len(data) > MaxHeartbeat {
		return DecodeHeartbeat(data)
	}
	if p := r.of[string(speaker(data))]; p != nil && r.again(p, data) {
		return p.hb, nil
	}
	s := scanner{data: data, places: &r.places}
	quick, ok := s.heartbeat()
	hb, err := completed(data, quick, ok, s.capitals)
	if ok && !s.capitals && hb.Rejected == 0 && r.places.plain(data) {
		r.keep(data, hb)
	}
	return hb, err
}

// speaker gives what is probably the DEA's id: DEAs write it first, or last. Nothing depends on it but time.
func speaker(data []byte) []byte {
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

// keep remembers a payload.
func (r *Redecoder) keep(data []byte, hb actual.Heartbeat) {
	if r.maxBytes == 0 {
		r.maxBytes = maxRemembered
	}
	if r.of == nil || r.size+len(data) > r.maxBytes {
		r.of, r.size = map[string]*payload{}, 0
	}
	p := r.of[hb.DEA]
	if p == nil {
		p = &payload{}
		r.of[hb.DEA] = p
	}
	p.hb = hb
	r.store(p, data)
}

// store puts the text and the places that were found in it in the place of p's.
func (r *Redecoder) store(p *payload, data []byte) {
	r.size += len(data) - len(p.text)
	p.text = append(p.text[:0], data...)
	p.places.first, p.places.ends = r.places.first, append(p.places.ends[:0], r.places.ends...)
}

// lookAhead is how many entries that are gone are looked past for the next one that is still there.
const lookAhead = 8

// again decodes a payload that is mostly the one in p, and puts it into p. It returns false, and leaves p as it is,
// when data is not of p's form; then it may still be a heartbeat.
func (r *Redecoder) again(p *payload, data []byte) bool {
	old, first := p.hb.Instances, p.places.first
	if len(data) <= first || !bytes.Equal(data[:first], p.text[:first]) {
		return false
	}
	r.places.begin(first)
	r.fresh = r.fresh[:0]
	var list []actual.Instance
	from, to := 0, 0 // entries of p that come next in list
	flush := func() {
		if list == nil {
			list = make([]actual.Instance, 0, len(old)+1)
		}
		list = append(list, old[from:to]...)
	}
	n, next := 0, 0 // entries so far; the entry of p that is likely to come next
	passed := false // the one before that has not come
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
			if next < len(old) { // it has probably come in the place of that one
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

// find gives which of p's entries is at a place of data, and where it ends there: -1 if none of those that may be.
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

// fewPairs is up to how many comparisons looking for equal guids one by one is as good as a table.
const fewPairs = 4096

// repeated reports whether one guid comes twice in a list of which only the fresh entries can be equal to others.
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
