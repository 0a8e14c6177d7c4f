package feed

import (
	"bytes"

	"hm/actual"
)

// Sender returns the id of the DEA that probably sent a message that is no heartbeat. It is the value of a member "dea"
// where DEAs write it: first in the message, or last, after the list. If the message is JSON, the member may be
// anywhere. Sender returns "" if there is no such member, or if the first and the last one differ. It does not check
// the rest of the message.
func Sender(data []byte) string {
	first, last := firstMember(data), lastMember(data)
	switch {
	case first == nil && last == nil:
		return anyMember(data)
	case first == nil:
		return string(last)
	case last != nil && !bytes.Equal(first, last):
		return ""
	}
	return string(first)
}

// anyMember returns the id in a message that is JSON.
func anyMember(data []byte) (dea string) {
	if len(data) > MaxHeartbeat || check(data) != nil {
		return ""
	}
	_ = members(data, func(name []byte, v value) {
		if string(name) != "dea" {
			return
		}
		dea = ""
		if id, ok := v.text(); ok && actual.ValidDEA(id) {
			dea = string(id)
		}
	})
	return dea
}

var (
	deaName  = []byte(`"dea"`)
	jsonTail = 2 * (actual.MaxDEALen + len(deaName)) // enough bytes for the last member with some spaces
)

// firstMember returns the id at the start of a message.
func firstMember(data []byte) []byte {
	data = bytes.TrimLeft(data[:min(len(data), jsonTail)], " \t\r\n")
	rest, ok := bytes.CutPrefix(data, []byte{'{'})
	if !ok {
		return nil
	}
	return deaMember(bytes.TrimLeft(rest, " \t\r\n"), ",}")
}

// lastMember returns the id at the end of a message.
func lastMember(data []byte) []byte {
	tail := bytes.TrimRight(data[max(len(data)-jsonTail, 0):], " \t\r\n")
	at := bytes.LastIndex(tail, deaName)
	if at < 0 || !bytes.HasSuffix(tail, []byte{'}'}) {
		return nil
	}
	before, comma := bytes.CutSuffix(bytes.TrimRight(tail[:at], " \t\r\n"), []byte{','})
	if !comma || !bytes.HasSuffix(bytes.TrimRight(before, " \t\r\n"), []byte{']'}) {
		return nil
	}
	if id := deaMember(tail[at:], "}"); bytes.Count(tail[at:], []byte{'"'}) == 4 {
		return id
	}
	return nil
}

// deaMember reads a member "dea" at the start of text. One of the bytes in next must follow it.
func deaMember(text []byte, next string) []byte {
	rest, ok := bytes.CutPrefix(text, deaName)
	if !ok {
		return nil
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte{':'})
	if !ok {
		return nil
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte{'"'})
	if !ok {
		return nil
	}
	id, rest, ok := bytes.Cut(rest, []byte{'"'})
	if !ok || !actual.ValidDEA(id) || bytes.IndexByte(id, '\\') >= 0 {
		return nil
	}
	if rest = bytes.TrimLeft(rest, " \t\r\n"); len(rest) == 0 || bytes.IndexByte([]byte(next), rest[0]) < 0 {
		return nil
	}
	return id
}
