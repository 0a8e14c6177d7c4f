package feed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/jsonlex"
)

// The full decoder: it accepts any JSON within the limits, and its errors say what is wrong.

// readHeartbeat decodes any heartbeat. data is at most MaxHeartbeat long.
func readHeartbeat(data []byte) (actual.Heartbeat, error) {
	var hb actual.Heartbeat
	if err := check(data); err != nil {
		return hb, err
	}
	var dea, droplets value
	if err := members(data, func(name []byte, v value) {
		switch string(name) {
		case "dea":
			dea = v
		case "droplets":
			droplets = v
		}
	}); err != nil {
		return hb, err
	}
	id, ok := dea.text()
	switch {
	case dea.absent():
		return hb, fmt.Errorf("%w: it has no dea", ErrMalformed)
	case !ok || !actual.ValidDEA(id):
		return hb, fmt.Errorf("%w: dea is %.80s, not a string of 1 to %d printable ASCII bytes",
			ErrMalformed, dea, actual.MaxDEALen)
	case droplets.absent():
		return hb, fmt.Errorf("%w: it has no droplets", ErrMalformed)
	case droplets[0] != '[':
		return hb, fmt.Errorf("%w: droplets is %.80s, not an array", ErrMalformed, droplets)
	}
	hb.DEA = string(id)
	hb.Instances = roomFor(data)
	n := 0
	elements(droplets, func(v value) bool {
		if n++; n > actual.MaxInstances {
			return false
		}
		addEntry(&hb, v)
		return true
	})
	if n > actual.MaxInstances {
		return actual.Heartbeat{}, fmt.Errorf("%w: more than %d droplets", ErrTooLarge, actual.MaxInstances)
	}
	return hb, nil
}

// addEntry adds one entry of the list. An entry is an instance if it has the app, the index and the instance guid. Then
// a missing or unknown state does not matter.
func addEntry(hb *actual.Heartbeat, v value) {
	e := readEntry(v)
	if e.have&placed == placed {
		if e.have&fieldState == 0 {
			e.in.State = actual.Unknown
		}
		if e.in.State == actual.Unknown {
			hb.UnknownStates++
			explain(hb, v, fieldState)
		}
		if e.have&fieldSince == 0 {
			hb.Untimed++
		}
		hb.Instances = append(hb.Instances, e.in)
		return
	}
	hb.Rejected++
	explain(hb, v, placed&^e.have)
	if e.have&fieldInstance != 0 {
		hb.Unreadable = append(hb.Unreadable, e.in.GUID)
	}
	gone := e.in.State == actual.Crashed || e.in.State == actual.Stopping
	if e.have&named == named && !gone {
		hb.Unplaced = append(hb.Unplaced, actual.Unplaced{App: e.in.App, GUID: e.in.GUID})
	}
}

// read is an entry with the fields that could be read, which are in have. The other fields are zero.
type read struct {
	in   actual.Instance
	have field
}

func readEntry(v value) (e read) {
	if v[0] != '{' {
		return e
	}
	_ = members(v, func(name []byte, v value) {
		f, ok := fieldOf(name), false
		switch f {
		case fieldDroplet:
			ok = v.guid(&e.in.App.Droplet)
		case fieldVersion:
			ok = v.guid(&e.in.App.Version)
		case fieldInstance:
			if ok = v.guid(&e.in.GUID); !ok {
				e.in.GUID = app.GUID{}
			}
		case fieldIndex:
			ok = v.index(&e.in.Index)
		case fieldState:
			e.in.State, ok = v.state()
		case fieldSince:
			if ok = v.isNumber(); ok {
				e.in.Since = parseMillis(v)
			} else {
				e.in.Since = 0
			}
		}
		e.have &^= f // if a name comes twice the last value counts, even if it is bad
		if ok {
			e.have |= f
		}
	})
	return e
}

// explain sets hb.Why to what is wrong with the first of these fields of an entry, unless it is set already.
func explain(hb *actual.Heartbeat, entry value, wrong field) {
	if hb.Why != "" {
		return
	}
	if entry[0] != '{' {
		hb.Why = fmt.Sprintf("an entry is %s, not an object", plainText(entry))
		return
	}
	for _, o := range inOrder {
		if o.f&wrong == 0 {
			continue
		}
		name := strings.Trim(o.text, `":`)
		var last value
		_ = members(entry, func(n []byte, v value) {
			if string(n) == name {
				last = v
			}
		})
		if hb.Why = "an entry has no " + name; last != nil {
			hb.Why = fmt.Sprintf("%s of an entry is %s", name, plainText(last))
		}
		return
	}
}

// plainText returns the beginning of a value, safe to print.
func plainText(v value) string {
	v = v[:min(len(v), 60)]
	if bytes.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return strconv.QuoteToASCII(string(v))
	}
	return string(v)
}

// check returns an error if data is not JSON or is nested too deeply. The functions below rely on it: they check
// nothing.
func check(data []byte) error {
	depth, text := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("%w: nested deeper than %d", ErrTooLarge, MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if !json.Valid(data) {
		var v struct{}
		return fmt.Errorf("%w: it is not JSON: %w", ErrMalformed, json.Unmarshal(data, &v))
	}
	return nil
}

// value is the text of one JSON value in a checked message, without spaces around it. nil: there is none.
type value []byte

// absent reports whether there is no value, or null.
func (v value) absent() bool { return v == nil || v[0] == 'n' }

func (v value) isNumber() bool { return v[0] == '-' || v[0]-'0' <= 9 }

// text returns the content of a string. It returns false if the value is no string.
func (v value) text() ([]byte, bool) {
	if len(v) == 0 || v[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], true
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return nil, false
	}
	return []byte(s), true
}

func (v value) guid(g *app.GUID) bool {
	t, ok := v.text()
	if !ok {
		return false
	}
	var err error
	*g, err = app.ParseGUIDBytes(t)
	return err == nil
}

func (v value) state() (s actual.State, ok bool) {
	word, ok := v.text()
	if !ok {
		return 0, false
	}
	if s, err := actual.ParseState(word); err == nil {
		return s, true
	}
	return actual.StateOf(string(word)), true
}

func (v value) index(i *uint32) (ok bool) {
	if len(v) == 0 || !v.isNumber() {
		return false
	}
	*i, ok = parseIndex(v)
	return ok
}

// members calls fn with the unescaped name and the value of each member of an object.
func members(object []byte, fn func(name []byte, v value)) error {
	i := spaceLen(object)
	if object[i] != '{' {
		return fmt.Errorf("%w: it is not an object", ErrMalformed)
	}
	for i++; ; i++ {
		i += spaceLen(object[i:])
		if object[i] == '}' {
			return nil // the object is empty
		}
		n := valueLen(object[i:])
		name, _ := value(object[i : i+n]).text()
		i += n
		i += spaceLen(object[i:]) + 1 // the colon
		i += spaceLen(object[i:])
		n = valueLen(object[i:])
		fn(name, value(object[i:i+n]))
		i += n
		i += spaceLen(object[i:])
		if object[i] == '}' {
			return nil
		}
	}
}

// elements calls fn with each element of an array, until fn returns false.
func elements(array value, fn func(v value) bool) {
	for i := 1; ; i++ {
		i += spaceLen(array[i:])
		if array[i] == ']' {
			return // the array is empty
		}
		n := valueLen(array[i:])
		if !fn(array[i : i+n]) {
			return
		}
		i += n
		i += spaceLen(array[i:])
		if array[i] == ']' {
			return
		}
	}
}

func spaceLen(d []byte) int {
	for i, c := range d {
		if !jsonlex.IsSpace(c) {
			return i
		}
	}
	return len(d)
}

// valueLen returns the length of the value at the start of d.
func valueLen(d []byte) int {
	depth := 0
	for i := 0; i < len(d); i++ {
		switch c := d[i]; c {
		case '"':
			for i++; d[i] != '"'; i++ {
				if d[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']', ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i // a number or a word ends here
			}
			if c == '}' || c == ']' {
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return len(d)
}
