package feed

import (
	"bytes"
	"hash/maphash"
	"slices"
	"unsafe"

	"hm/actual"
)

// maxRemembered is how many bytes a Redecoder keeps of payloads. Then it drops them all and starts again.
const maxRemembered = 256 << 20

// Redecoder decodes heartbeats like DecodeHeartbeat, but it remembers the newest payload of each DEA. It decodes only
// the new entries of the next payload and compares the others. It is for replays, which have the memory for it. The
// daemon keeps no payloads and decodes only changed ones. The zero value is ready to use. It is for one goroutine.
//
// Of an entry it keeps its length and a hash with a random key, not its text, which is 15 times as long. A changed entry
// that has the length and, by chance (2^-64 a comparison), the hash of one before it counts as unchanged.
type Redecoder struct {
	byDEA    map[string]*payload
	size     int // bytes of all payloads
	maxBytes int // maxRemembered; less in tests

	places places     // scratch
	list   []entrySum // scratch: the entries of the present payload
	fresh  []int      // scratch: positions of the entries that were decoded and not compared
}

// payload is a heartbeat in the usual form: no guid has capitals, no entry is rejected, no guid comes twice, and there
// is only a comma between two entries. So an entry with the same bytes has the same meaning.
type payload struct {
	head, tail []byte // before the first entry; from the bracket after the last one on
	entries    []entrySum
	size       int // bytes of all that
	hb         actual.Heartbeat
}

// entrySum stands for the text of an entry.
type entrySum struct {
	hash uint64
	size uint32 // in bytes; holds up to MaxHeartbeat
}

var entrySeed = maphash.MakeSeed()

const entryBytes = int(unsafe.Sizeof(entrySum{}))

func sumOf(text []byte) entrySum { return entrySum{maphash.Bytes(entrySeed, text), uint32(len(text))} }

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
		r.list = r.list[:0]
		for i := range r.places.ends {
			r.list = append(r.list, sumOf(data[r.places.start(i):r.places.ends[i]]))
		}
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

// keep stores a payload whose entries are in list.
func (r *Redecoder) keep(data []byte, hb actual.Heartbeat) {
	if r.maxBytes == 0 {
		r.maxBytes = maxRemembered
	}
	if r.byDEA == nil || r.size+len(r.list)*entryBytes > r.maxBytes {
		r.byDEA, r.size = map[string]*payload{}, 0
	}
	p := r.byDEA[hb.DEA]
	if p == nil {
		p = &payload{}
		r.byDEA[hb.DEA] = p
	}
	p.head = append(p.head[:0], data[:r.places.first]...)
	p.tail = append(p.tail[:0], data[r.places.close():]...)
	p.hb = hb
	r.store(p, hb.Instances)
}

// store sets the instances of p, and its entries to those in list.
func (r *Redecoder) store(p *payload, instances []actual.Instance) {
	r.size -= p.size
	p.entries = append(p.entries[:0], r.list...)
	p.size = len(p.head) + len(p.tail) + len(p.entries)*entryBytes
	r.size += p.size
	p.hb.Instances = instances
}

// lookAhead is how many removed entries find skips to find the next entry that is still there.
const lookAhead = 8

// update decodes a payload that is mostly equal to p, and stores it in p. It returns false, and does not change p, if
// data does not have the form of a payload; data may still be a heartbeat.
func (r *Redecoder) update(p *payload, data []byte) bool {
	old, first := p.hb.Instances, len(p.head)
	if len(data) <= first || !bytes.Equal(data[:first], p.head) {
		return false
	}
	r.list, r.fresh = r.list[:0], r.fresh[:0]
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
	at, end := first, first
	for data[at] != ']' || n > 0 {
		if n == actual.MaxInstances {
			return false
		}
		was := p.find(data[at:], next, passed)
		if was < 0 {
			s, in := scanner{data: data, i: at}, actual.Instance{}
			if data[at] != '{' || !s.entry(&in) || s.capitals {
				return false
			}
			end = s.i
			flush()
			list = append(list, in)
			r.list = append(r.list, sumOf(data[at:end]))
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
			end = at + int(p.entries[was].size)
			r.list = append(r.list, p.entries[was])
		}
		n++
		if end >= len(data)-1 || data[end] != ',' {
			break
		}
		at = end + 1
	}
	if !bytes.Equal(data[end:], p.tail) {
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
	r.store(p, list)
	return true
}

// find returns which of p's entries data begins with, or -1 if with none of them.
func (p *payload) find(data []byte, next int, passed bool) int {
	var begin entrySum // of data
	is := func(i int) bool {
		e := &p.entries[i]
		if n := int(e.size); e.size != begin.size {
			if n > len(data) || data[n-1] != '}' {
				return false
			}
			begin = sumOf(data[:n])
		}
		return *e == begin
	}
	to := min(next+lookAhead, len(p.entries))
	for i := next; i < to; i++ {
		if is(i) {
			return i
		}
	}
	if passed && is(next-1) {
		return next - 1
	}
	return -1
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
