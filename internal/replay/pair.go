package replay

import "math"

// maxPairing bounds the table that nearest fills. Beyond that commands are paired one by one.
const maxPairing = 1 << 22

// nearest says, for each of the times in few, which of those in many belongs to it: no two the same, in the same order,
// and all together as near to each other as can be. Both are in the order of time, and many is not the shorter one.
func nearest(few, many []Time) []int {
	n, spare := len(few), len(many)-len(few)
	of := make([]int, n)
	if spare == 0 || n == 0 || n*(spare+1) > maxPairing {
		for i := range of {
			of[i] = i
		}
		return of
	}
	// cost[k] is the least distance of the first so many of few, the last of which belongs to one of the first i+k+1 of
	// many; paired says whether it belongs to the very last of those.
	cost := make([]int64, spare+1)
	paired := make([]bool, n*(spare+1))
	for i := range few {
		least := int64(math.MaxInt64)
		for k := range cost {
			distance := int64(many[i+k] - few[i])
			if distance < 0 {
				distance = -distance
			}
			if c := cost[k] + distance; c < least { // of two that are as near the earlier one
				least, paired[i*(spare+1)+k] = c, true
			}
			cost[k] = least
		}
	}
	for i, k := n-1, spare; i >= 0; i-- {
		for !paired[i*(spare+1)+k] {
			k--
		}
		of[i] = i + k
	}
	return of
}
