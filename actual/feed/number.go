package feed

import (
	"math"
	"strconv"

	"hm/actual"
	"hm/internal/jsonlex"
)

// maxMillis is the last millisecond of the year 9999.
const maxMillis = 253_402_300_799_999

// parseIndex reads an instance index from a JSON number.
func parseIndex(n []byte) (uint32, bool) {
	if len(n) <= 5 && jsonlex.Digits(n) == len(n) {
		v := decimal(n)
		return uint32(v), v <= actual.MaxIndex
	}
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil || v != math.Trunc(v) || v < 0 || v > actual.MaxIndex {
		return 0, false
	}
	return uint32(v), true
}

// parseMillis converts a JSON number of seconds to milliseconds, rounded down, from 0 to maxMillis.
func parseMillis(n []byte) int64 {
	whole := jsonlex.Digits(n)
	if whole > 0 && whole <= 11 {
		if whole == len(n) {
			return min(decimal(n)*1000, maxMillis)
		}
		if frac := n[whole+1:]; n[whole] == '.' && jsonlex.Digits(frac) == len(frac) {
			ms := decimal(frac[:min(len(frac), 3)])
			for i := len(frac); i < 3; i++ {
				ms *= 10
			}
			return min(decimal(n[:whole])*1000+ms, maxMillis)
		}
	}
	v, _ := strconv.ParseFloat(string(n), 64) // a number that is too large becomes infinite, and then maxMillis
	return int64(max(0, min(v*1000, maxMillis)))
}

// decimal returns the value of digits, which must not overflow.
func decimal(d []byte) (v int64) {
	for _, c := range d {
		v = v*10 + int64(c-'0')
	}
	return v
}
