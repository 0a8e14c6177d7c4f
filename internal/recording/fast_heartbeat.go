package recording

import (
	"bytes"
	"time"

	"hm/actual/feed"
)

// Most lines of a recording are heartbeats that a Writer has written. They are split here without a check of the
// payload. parse reads all other lines, and those whose payload cannot be decoded later (see Reparse).

var (
	timeStart       = []byte(`{"t":"`)
	heartbeatData   = []byte(`","type":"nats","subject":"dea.heartbeat","data":`)
	heartbeatRepeat = []byte(`","type":"nats","subject":"dea.heartbeat","repeat":"`)
)

// parseHeartbeat reads the line of a heartbeat as a Writer writes it. It returns false for any other line. e.Data may
// be invalid JSON.
func (r *Reader) parseHeartbeat(text []byte, e *Event) bool {
	if r.rows != nil || r.state != nil || !bytes.HasPrefix(text, timeStart) {
		return false
	}
	rest := text[len(timeStart):]
	end := bytes.IndexByte(rest[:min(len(rest), 40)], '"')
	if end < 0 {
		return false
	}
	at, ok := r.minute.parse(rest[:end])
	if !ok {
		return false
	}
	rest = rest[end:]
	switch {
	case bytes.HasPrefix(rest, heartbeatData) && rest[len(rest)-1] == '}':
		data := rest[len(heartbeatData) : len(rest)-1]
		*e = Event{At: at, Type: TypeNATS, Subject: feed.SubjectHeartbeat, Data: data, line: text}
		return true
	case bytes.HasPrefix(rest, heartbeatRepeat):
		dea, ok := bytes.CutSuffix(rest[len(heartbeatRepeat):], []byte(`"}`))
		if !ok || bytes.IndexByte(dea, '\\') >= 0 || bytes.IndexByte(dea, '"') >= 0 {
			return false
		}
		*e = Event{At: at, Type: TypeNATS, Subject: feed.SubjectHeartbeat, Repeat: string(dea)}
		return true
	}
	return false
}

// minuteCache parses times. It parses date, hour and minute again only when they change.
type minuteCache struct {
	text [17]byte // "2006-01-02T15:04:"
	at   time.Time
}

// parse reads "2006-01-02T15:04:05.999999999Z".
func (c *minuteCache) parse(s []byte) (time.Time, bool) {
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

// Reparse reads the line of a heartbeat again, in full, if Next has not checked its payload. It is for a payload that
// cannot be decoded: the error says what is wrong with the line. done reports whether the line was read again.
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
