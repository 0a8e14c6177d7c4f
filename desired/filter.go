package desired

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Filter says which apps a cell has: a part of the platform with an hm cluster of its own. Each list has names or
// guids. An app belongs to the cell if it fits every list that is not empty; it fits a list if it is in any of its
// entries.
type Filter struct {
	IsolationSegments []string
	Stacks            []string
	Organizations     []string
}

// Empty reports whether the filter lets every app through.
func (f Filter) Empty() bool {
	return len(f.IsolationSegments)+len(f.Stacks)+len(f.Organizations) == 0
}

// filterMark stands between what was read and its filter in the source of a read. It is in no URL and no name of a
// database server.
const filterMark = " | only "

// maxFilterText is how much of a filter a source shows. A longer filter ends with its digest.
const maxFilterText = 200

// String gives the filter for people, the same text for the same filter, whatever the order of its entries. It is empty
// for an empty filter. Two filters with different meanings have different texts.
func (f Filter) String() string {
	var parts []string
	for _, list := range []struct {
		name    string
		entries []string
	}{
		{"isolation segments", f.IsolationSegments}, {"stacks", f.Stacks}, {"organizations", f.Organizations},
	} {
		if len(list.entries) == 0 {
			continue
		}
		entries := slices.Clone(list.entries)
		slices.Sort(entries)
		quoted := make([]string, 0, len(entries))
		for _, e := range slices.Compact(entries) {
			quoted = append(quoted, fmt.Sprintf("%q", e))
		}
		parts = append(parts, list.name+" "+strings.Join(quoted, ", "))
	}
	text := strings.Join(parts, "; ")
	if len(text) > maxFilterText {
		text = strings.ToValidUTF8(text[:maxFilterText], "") + fmt.Sprintf("... %x", sha256.Sum256([]byte(text)))
	}
	return text
}

// maxSource is how much of the name of a source stands before its filter: the record keeps 1 KiB of both.
const maxSource = 512

// Filtered gives the source of a read through a filter: what was read, and the filter's text. With an empty filter it
// gives what was read.
func Filtered(source string, f Filter) string {
	if f.Empty() {
		return source
	}
	return strings.ToValidUTF8(source[:min(len(source), maxSource)], "") + filterMark + f.String()
}

// Anonymous gives a source that says of another one only whether it was read through a filter: it has no names.
func Anonymous(source string) string {
	if FilterOf(source) == "" {
		return anonymous
	}
	return anonymous + filterMark + "a part"
}

const anonymous = "recording"

// FilterOf gives the text of the filter through which a recorded source was read; empty if it was read whole.
func FilterOf(source string) string {
	if i := strings.Index(source, filterMark); i >= 0 {
		return source[i+len(filterMark):]
	}
	return ""
}
