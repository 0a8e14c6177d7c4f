package raftfsm

import (
	"fmt"

	"hm/desired"
	"hm/internal/app"
)

// appLetterCase is the letter case of the guids in a desired row that the Cloud Controller writes with capitals. Such
// rows are rare: their letter case is kept outside of the app records, which would all be larger otherwise.
type appLetterCase struct {
	app        Handle
	letterCase app.KeyLetterCase
}

// row returns an app's desired row, or the zero row if it has none.
func (s *State) row(h Handle) desired.App {
	d := s.apps.row(h)
	d.LetterCase = s.letterCase(h)
	return d
}

// letterCase returns the letter case of the guids in an app's desired row.
func (s *State) letterCase(h Handle) app.KeyLetterCase {
	if s.cases.Len() == 0 {
		return app.KeyLetterCase{}
	}
	x, _ := s.cases.Get(appLetterCase{app: h})
	return x.letterCase
}

// setLetterCase records the letter case of the guids in an app's desired row.
func (s *State) setLetterCase(h Handle, c app.KeyLetterCase) {
	if c != (app.KeyLetterCase{}) {
		s.cases.Set(appLetterCase{h, c})
	} else if s.cases.Len() > 0 {
		s.cases.Delete(appLetterCase{app: h})
	}
}

// In entries and snapshots the letter case is a column with two numbers a row. It is empty if no row has capitals,
// which is the usual case.

// appendLetterCase appends the numbers of row i of n.
func appendLetterCase(dst []uint32, i, n int, c app.KeyLetterCase) []uint32 {
	if len(dst) == 0 {
		if c == (app.KeyLetterCase{}) {
			return dst
		}
		dst = append(dst, make([]uint32, 2*i, 2*n)...)
	}
	return append(dst, uint32(c.Droplet), uint32(c.Version))
}

func checkLetterCase(column []uint32, rows int) error {
	if len(column) != 0 && len(column) != 2*rows {
		return fmt.Errorf("%d desired rows have %d numbers for the letter case, not %d", rows, len(column), 2*rows)
	}
	return nil
}

func letterCaseOf(column []uint32, i int) app.KeyLetterCase {
	if len(column) == 0 {
		return app.KeyLetterCase{}
	}
	return app.KeyLetterCase{Droplet: app.LetterCase(column[2*i]), Version: app.LetterCase(column[2*i+1])}
}
