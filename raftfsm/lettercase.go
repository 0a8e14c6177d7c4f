package raftfsm

import (
	"fmt"

	"hm/desired"
	"hm/internal/app"
)

// spelledApp is a desired app whose guids the Cloud Controller writes with capitals. Few are: they are kept beside the
// app records, which would be larger for all.
type spelledApp struct {
	app      Handle
	capitals app.KeyCapitals
}

// capitals gives those of an app's desired row.
func (s *State) capitals(h Handle) app.KeyCapitals {
	if s.spelled.Len() == 0 {
		return app.KeyCapitals{}
	}
	x, _ := s.spelled.Get(spelledApp{app: h})
	return x.capitals
}

// row gives an app's desired row, the zero one if it has none.
func (s *State) row(h Handle) desired.App {
	d := s.apps.get(uint32(h)).row()
	d.Capitals = s.capitals(h)
	return d
}

// spell records the capitals of an app's desired row.
func (s *State) spell(h Handle, c app.KeyCapitals) {
	if c != (app.KeyCapitals{}) {
		s.spelled.Set(spelledApp{h, c})
	} else if s.spelled.Len() > 0 {
		s.spelled.Delete(spelledApp{app: h})
	}
}

// The column of capitals has two numbers a row, or none at all if no row has any: hardly a Cloud Controller writes
// guids in capitals.

// appendCapitals appends those of row i of n.
func appendCapitals(dst []uint32, i, n int, c app.KeyCapitals) []uint32 {
	if len(dst) == 0 {
		if c == (app.KeyCapitals{}) {
			return dst
		}
		dst = append(dst, make([]uint32, 2*i, 2*n)...)
	}
	return append(dst, uint32(c.Droplet), uint32(c.Version))
}

func checkCapitals(column []uint32, rows int) error {
	if len(column) != 0 && len(column) != 2*rows {
		return fmt.Errorf("%d desired rows have %d numbers of capitals", rows, len(column))
	}
	return nil
}

func capitalsOf(column []uint32, i int) app.KeyCapitals {
	if len(column) == 0 {
		return app.KeyCapitals{}
	}
	return app.KeyCapitals{Droplet: app.Capitals(column[2*i]), Version: app.Capitals(column[2*i+1])}
}
