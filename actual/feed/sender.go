package feed

import (
	"bytes"

	"hm/actual"
)

// Sender gives the id of the DEA that has probably sent a message which is no heartbeat: that of a member "dea" where
// DEAs write it, first in the message or last, behind the list. It is empty if there is none, or two that differ. What
// else is in the message, and whether it is whole, is not looked at; only where the message is JSON may the member be
// anywhere.
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

// anyMember gives the id in a message that is JSON.
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
	jsonTail = 2 * (actual.MaxDEALen + len(deaName)) // bytes in which the last member must lie, with some spaces
)

// firstMember gives the id at the front of a message.
func firstMember(data []byte) []byte {
	data = bytes.TrimLeft(data[:min(len(data), jsonTail)], " \t\r\n")
	rest, ok := bytes.CutPrefix(data, []byte{'{'})
	if !ok {
		return nil
	}
	return deaMember(bytes.TrimLeft(rest, " \t\r\n"), ",}")
}

// lastMember gives the id at the end of a message.
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

// deaMember reads the member "dea" that text begins with, behind which one of these bytes comes.
func deaMember(text []byte, behind string) []byte {
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
	if rest = bytes.TrimLeft(rest, " \t\r\n"); len(rest) == 0 || bytes.IndexByte([]byte(behind), rest[0]) < 0 {
		return nil
	}
	return id
}
