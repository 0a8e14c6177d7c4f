package feed

import (
	"encoding/binary"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/jsonlex"
)

// The fast decoder: one pass over the bytes of a heartbeat in the form that DEAs write. The fields may be in any order;
// the DEA's own order is the fastest. It has no errors: at anything unusual (an escape, a nested value, a bad entry) it
// stops, and the full decoder readHeartbeat starts from the beginning. If it accepts a message, its result must be the
// same as that of readHeartbeat; a fuzz test checks this.

// heartbeat decodes a heartbeat. It returns false if the full decoder must decode it.
func (s *scanner) heartbeat() (hb actual.Heartbeat, ok bool) {
	if !s.mark('{') {
		return hb, false
	}
	listed := false
	for {
		name, ok := s.name()
		if !ok {
			return hb, false
		}
		switch {
		case string(name) == "droplets" && !listed:
			listed = true
			if hb.Instances, ok = s.instances(); !ok {
				return hb, false
			}
		case string(name) == "dea" && hb.DEA == "":
			id, ok := s.text()
			if !ok || !actual.ValidDEA(id) {
				return hb, false
			}
			hb.DEA = string(id)
		case string(name) == "droplets" || string(name) == "dea":
			return hb, false
		default:
			if !s.skip() {
				return hb, false
			}
		}
		if s.mark(',') {
			continue
		}
		if !s.mark('}') {
			return hb, false
		}
		s.space()
		return hb, s.i == len(s.data) && listed && hb.DEA != ""
	}
}

type scanner struct {
	data   []byte
	i      int
	places *places // set to the positions of the entries, unless nil

	capitals bool // a guid has capitals
}

// field is a bit for each field of an entry.
type field uint8

const (
	fieldDroplet field = 1 << iota
	fieldVersion
	fieldInstance
	fieldIndex
	fieldState
	fieldSince
	fieldOther field = 0

	named    = fieldDroplet | fieldVersion        // the app
	placed   = named | fieldInstance | fieldIndex // the fields that an instance must have
	complete = placed | fieldState | fieldSince   // all fields
)

// inOrder are the names in an entry, in the order in which a DEA writes them.
var inOrder = [...]struct {
	text string
	f    field
}{
	{`"cc_partition":`, fieldOther}, {`"droplet":`, fieldDroplet}, {`"version":`, fieldVersion}, {`"instance":`, fieldInstance},
	{`"index":`, fieldIndex}, {`"state":`, fieldState}, {`"state_timestamp":`, fieldSince},
}

func fieldOf(name []byte) field {
	switch string(name) {
	case "droplet":
		return fieldDroplet
	case "version":
		return fieldVersion
	case "instance":
		return fieldInstance
	case "index":
		return fieldIndex
	case "state":
		return fieldState
	case "state_timestamp":
		return fieldSince
	}
	return fieldOther
}

// instances reads the array of entries.
func (s *scanner) instances() ([]actual.Instance, bool) {
	if !s.mark('[') {
		return nil, false
	}
	if s.places != nil {
		s.places.begin(s.i)
	}
	if s.mark(']') {
		return []actual.Instance{}, true
	}
	list := roomFor(s.data)
	for {
		if len(list) == actual.MaxInstances {
			return nil, false
		}
		list = append(list, actual.Instance{})
		if !s.entry(&list[len(list)-1]) {
			return nil, false
		}
		if s.places != nil {
			s.places.end(s.i)
		}
		if s.mark(',') {
			continue
		}
		return list, s.mark(']')
	}
}

// entry reads one entry that has all fields.
func (s *scanner) entry(in *actual.Instance) bool {
	if !s.mark('{') {
		return false
	}
	var have field
	for next := 0; ; next++ {
		var f field
		if next < len(inOrder) && s.literally(inOrder[next].text) {
			f = inOrder[next].f
		} else {
			name, ok := s.name()
			if !ok {
				return false
			}
			f = fieldOf(name)
		}
		ok := false
		switch f {
		case fieldDroplet:
			ok = s.guid(&in.App.Droplet)
		case fieldVersion:
			ok = s.guid(&in.App.Version)
		case fieldInstance:
			ok = s.guid(&in.GUID)
		case fieldIndex:
			var n []byte
			if n, ok = s.number(); ok {
				in.Index, ok = parseIndex(n)
			}
		case fieldState:
			ok = s.state(&in.State)
		case fieldSince:
			var n []byte
			if n, ok = s.number(); ok {
				in.Since = parseMillis(n)
			}
		default:
			ok = s.skip()
		}
		if !ok {
			return false
		}
		have |= f
		if s.mark(',') {
			continue
		}
		return s.mark('}') && have == complete
	}
}

func (s *scanner) space() {
	for s.i < len(s.data) && jsonlex.IsSpace(s.data[s.i]) {
		s.i++
	}
}

// mark takes spaces and then c. It returns false if c does not follow.
func (s *scanner) mark(c byte) bool {
	if s.i < len(s.data) && s.data[s.i] == c {
		s.i++
		return true
	}
	s.space()
	if s.i < len(s.data) && s.data[s.i] == c {
		s.i++
		return true
	}
	return false
}

// literally takes text if it comes next.
func (s *scanner) literally(text string) bool {
	if end := s.i + len(text); end <= len(s.data) && string(s.data[s.i:end]) == text {
		s.i = end
		return true
	}
	return false
}

// name takes a member's name and the colon.
func (s *scanner) name() ([]byte, bool) {
	n, ok := s.text()
	return n, ok && s.mark(':')
}

// text takes a string without escapes and returns what is between the quotes.
func (s *scanner) text() ([]byte, bool) {
	if !s.mark('"') {
		return nil, false
	}
	from := s.i
	s.i += jsonlex.Plain(s.data[s.i:])
	if s.i == len(s.data) || s.data[s.i] != '"' {
		return nil, false
	}
	s.i++
	return s.data[from : s.i-1], true
}

// guid takes a guid. It reads the two forms that Cloud Foundry writes eight digits at a time.
func (s *scanner) guid(g *app.GUID) bool {
	s.space()
	d := s.data[s.i:]
	if len(d) >= 38 && d[0] == '"' {
		var b [16]byte
		switch {
		case d[37] == '"' && uuidBytes(&b, (*[36]byte)(d[1:37])) && b != [16]byte{}:
			*g = app.FromBinary(b, 'u')
			s.i += 38
			return true
		case d[33] == '"' && hexBytes(&b, (*[32]byte)(d[1:33])):
			*g = app.FromBinary(b, 'h')
			s.i += 34
			return true
		}
	}
	t, ok := s.text()
	if !ok {
		return false
	}
	var err error
	*g, err = app.ParseGUIDBytes(t)
	s.capitals = s.capitals || app.LetterCaseOf(*g, t) != 0
	return err == nil
}

func (s *scanner) state(st *actual.State) bool {
	if s.literally(`"RUNNING"`) {
		*st = actual.Running
		return true
	}
	t, ok := s.text()
	if !ok {
		return false
	}
	var err error
	*st, err = actual.ParseState(t)
	return err == nil
}

func (s *scanner) number() ([]byte, bool) {
	s.space()
	n := jsonlex.Number(s.data[s.i:])
	s.i += n
	return s.data[s.i-n : s.i], n > 0
}

// skip takes a value that is neither object nor array.
func (s *scanner) skip() bool {
	s.space()
	if s.i == len(s.data) {
		return false
	}
	switch s.data[s.i] {
	case '"':
		_, ok := s.text()
		return ok
	case 't':
		return s.literally("true")
	case 'f':
		return s.literally("false")
	case 'n':
		return s.literally("null")
	}
	_, ok := s.number()
	return ok
}

const ones = 0x0101010101010101

// nibbles converts eight lower-case hex digits to four bytes, all at once. The lowest byte of x is the first digit, and
// the lowest byte of the result is the first byte.
func nibbles(x uint64) (uint32, bool) {
	from0, past9 := x+(0x80-'0')*ones, x+(0x80-'9'-1)*ones // the high bit of each byte: the digit is at least that
	fromA, pastF := x+(0x80-'a')*ones, x+(0x80-'f'-1)*ones
	// A byte beyond ASCII is in neither range. Its carry into the next byte does not matter: the result is invalid.
	valid := (from0&^past9 | fromA&^pastF) & (0x80 * ones)
	n := x&(0x0f*ones) + fromA>>7&ones*9
	n = (n<<4 | n>>8) & 0x00ff00ff00ff00ff
	n = (n | n>>8) & 0x0000ffff0000ffff
	return uint32(n | n>>16), valid == 0x80*ones
}

func hexBytes(b *[16]byte, s *[32]byte) bool {
	p, ok1 := nibbles(leUint64(s[0:8]))
	q, ok2 := nibbles(leUint64(s[8:16]))
	r, ok3 := nibbles(leUint64(s[16:24]))
	t, ok4 := nibbles(leUint64(s[24:32]))
	put(b, p, q, r, t)
	return ok1 && ok2 && ok3 && ok4
}

func uuidBytes(b *[16]byte, s *[36]byte) bool {
	if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	p, ok1 := nibbles(leUint64(s[0:8]))
	q, ok2 := nibbles(uint64(leUint32(s[9:13])) | uint64(leUint32(s[14:18]))<<32)
	r, ok3 := nibbles(uint64(leUint32(s[19:23])) | uint64(leUint32(s[24:28]))<<32)
	t, ok4 := nibbles(leUint64(s[28:36]))
	put(b, p, q, r, t)
	return ok1 && ok2 && ok3 && ok4
}

func put(b *[16]byte, p, q, r, t uint32) {
	binary.LittleEndian.PutUint32(b[0:4], p)
	binary.LittleEndian.PutUint32(b[4:8], q)
	binary.LittleEndian.PutUint32(b[8:12], r)
	binary.LittleEndian.PutUint32(b[12:16], t)
}

func leUint64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
func leUint32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
