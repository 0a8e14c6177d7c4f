package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"hm/actual"
)

// AllIndices is the index argument of ParseTarget for an app as a whole.
const AllIndices = "all"

// Target is the app that a user names, and an index of it.
type Target struct {
	GUID  string // or the beginning of one
	Index string // a decimal number; empty: all indices

	hint string // what may be wrong if there is no such app
}

// ParseTarget parses APP or APP/INDEX. If index is not empty, it is a number or AllIndices, and arg is the guid even if
// it contains a slash. The error is about index.
func ParseTarget(arg, index string) (Target, error) {
	switch index {
	case "":
		at := strings.LastIndexByte(arg, '/')
		if at < 0 {
			return Target{GUID: arg}, nil
		}
		guid, number := arg[:at], arg[at+1:]
		if err := checkIndex(number); err != nil {
			hint := fmt.Sprintf("%q is taken as a guid, because %.20q is %v", arg[:min(len(arg), 80)], number, err)
			return Target{GUID: arg, hint: hint}, nil
		}
		hint := fmt.Sprintf("if /%s is part of the guid, say --index %s, or the index that you mean", number, AllIndices)
		return Target{GUID: guid, Index: number, hint: hint}, nil
	case AllIndices:
		return Target{GUID: arg}, nil
	}
	if err := checkIndex(index); err != nil {
		return Target{}, fmt.Errorf("%.20q: %w", index, err)
	}
	return Target{GUID: arg, Index: index}, nil
}

func checkIndex(text string) error {
	if n, err := strconv.ParseUint(text, 10, 32); err != nil || n > actual.MaxIndex {
		return fmt.Errorf("not a number from 0 to %d", actual.MaxIndex)
	}
	return nil
}

// Hint returns what may be wrong if there is no such app, or an empty text.
func (t Target) Hint() string { return t.hint }

// Explain adds Hint to a problem that says that there is no such app.
func (t Target) Explain(err error) error {
	var p *Problem
	if t.hint == "" || !errors.As(err, &p) || p.Status != http.StatusNotFound || p.Hint != "" {
		return err
	}
	explained := *p
	explained.Hint = t.hint
	return &explained
}
