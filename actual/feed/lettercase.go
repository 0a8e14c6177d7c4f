package feed

import (
	"hm/actual"
	"hm/internal/app"
)

// letterCasesOf returns the letter case of the guids with capitals in a decoded heartbeat, or nil if there are none.
// DEAs hardly ever write capitals, so to read such a message a second time costs less than to check every guid.
func letterCasesOf(data []byte) map[app.GUID]app.LetterCase {
	var found map[app.GUID]app.LetterCase
	note := func(v value) {
		t, ok := v.text()
		if !ok {
			return
		}
		g, err := app.ParseGUIDBytes(t)
		if err != nil {
			return
		}
		if c := app.LetterCaseOf(g, t); c != 0 {
			if found == nil {
				found = map[app.GUID]app.LetterCase{}
			}
			found[g] = c
		}
	}
	n := 0
	_ = members(data, func(name []byte, list value) {
		if string(name) != "droplets" || list.absent() || list[0] != '[' {
			return
		}
		elements(list, func(entry value) bool {
			if n++; n > actual.MaxInstances {
				return false
			}
			if entry[0] != '{' {
				return true
			}
			_ = members(entry, func(name []byte, v value) {
				switch fieldOf(name) {
				case fieldDroplet, fieldVersion, fieldInstance:
					note(v)
				}
			})
			return true
		})
	})
	return found
}
