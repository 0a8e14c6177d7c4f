package recording

import (
	"bytes"
	"time"
)

// Most of a recording is heartbeats, in lines as a Writer makes them. They are taken apart here without a look at
// what they carry; anything else, and any heartbeat that cannot be decoded then, goes through parse.

var (
	quickTime    = []byte(`{"t":"`)
	quickData    = []byte(`","type":"nats","subject":"dea.heartbeat","data":`)
	quickRepeat  = []byte(`","type":"nats","subject":"dea.heartbeat","repeat":"`)
	quickSubject = "dea.heartbeat"
)

// quick reads a heartbeat's line as a Writer makes it. e.Data is not known to be JSON.
func (r *Reader) quick(text []byte, e *Event) bool {
	if r.part != nil || r.state != nil || !bytes.HasPrefix(text, quickTime) {
		return false
	}
	rest := text[len(quickTime):]
	end := bytes.IndexByte(rest[:min(len(rest), 40)], '"')
	if end < 0 {
		return false
	}
	at, ok := r.year.parse(rest[:end])
	if !ok {
		return false
	}
	rest = rest[end:]
	switch {
	case bytes.HasPrefix(rest, quickData) && rest[len(rest)-1] == '}':
		*e = Event{At: at, Type: TypeNATS, Subject: quickSubject, Data: rest[len(quickData) : len(rest)-1], line: text}
		return true
	case bytes.HasPrefix(rest, quickRepeat) && len(rest) >= len(quickRepeat)+2 && bytes.HasSuffix(rest, []byte(`"}`)):
		dea := rest[len(quickRepeat) : len(rest)-2]
		if bytes.IndexByte(dea, '\\') >= 0 || bytes.IndexByte(dea, '"') >= 0 {
			return false
		}
		*e = Event{At: at, Type: TypeNATS, Subject: quickSubject, Repeat: string(dea)}
		return true
	}
	return false
}

// yearCache reads times of one minute after the other without reading the date anew.
type yearCache struct {
	text [17]byte // "2006-01-02T15:04:"
	at   time.Time
}

// parse reads "2006-01-02T15:04:05.999999999Z".
func (c *yearCache) parse(s []byte) (time.Time, bool) {
	const minute = len("2006-01-02T15:04:")
	if len(s) < minute+3 || s[len(s)-1] != 'Z' {
		return time.Time{}, false
	}
	if string(s[:minute]) != string(c.text[:]) {
		t, err := time.Parse(time.RFC3339, string(s[:minute])+"00Z")
		if err != nil || checkTime(t) != nil {
			return time.Time{}, false
		}
		c.at = t
		copy(c.text[:], s)
	}
	tens, ones := s[minute]-'0', s[minute+1]-'0'
	if tens > 5 || ones > 9 {
		return time.Time{}, false
	}
	nanos := time.Duration(tens*10+ones) * time.Second
	switch frac := s[minute+2 : len(s)-1]; {
	case len(frac) == 0:
	case frac[0] != '.' || len(frac) < 2 || len(frac) > 10:
		return time.Time{}, false
	default:
		unit := 100 * time.Millisecond
		for _, d := range frac[1:] {
			if d -= '0'; d > 9 {
				return time.Time{}, false
			}
			nanos += time.Duration(d) * unit
			unit /= 10
		}
	}
	return c.at.Add(nanos), true
}

// Reparse reads the line of a heartbeat again, in full, if Next has not looked at the payload. It is for a payload that
// cannot be decoded: an error says that the line is not JSON, or not what it should be. done reports whether there was
// anything to read again.
func (r *Reader) Reparse(e *Event) (done bool, err error) {
	if e.line == nil {
		return false, nil
	}
	var fresh Reader
	if _, err := fresh.parse(e.line, e); err != nil {
		return false, r.WithPosition(err)
	}
	return true, nil
}
