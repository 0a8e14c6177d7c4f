package raftfsm

import (
	"fmt"

	"hm/internal/app"
)

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
