package replay

import "math"

// maxPairing is the largest table that nearest fills. Beyond that it pairs in order.
const maxPairing = 1 << 22

// nearest pairs each time in few with one in many and returns the indices of those. They are different and in order,
// and the sum of all distances is as small as possible. Both lists are sorted, and many is not shorter than few.
func nearest(few, many []Time) []int {
	n, spare := len(few), len(many)-len(few)
	of := make([]int, n)
	if spare == 0 || n == 0 || n*(spare+1) > maxPairing {
		for i := range of {
			of[i] = i
		}
		return of
	}
	// cost[k] is the smallest sum of distances when few[:i+1] is paired with many[:i+k+1]. paired says whether few[i]
	// is paired with many[i+k] then.
	cost := make([]int64, spare+1)
	paired := make([]bool, n*(spare+1))
	for i := range few {
		least := int64(math.MaxInt64)
		for k := range cost {
			distance := int64(many[i+k] - few[i])
			if distance < 0 {
				distance = -distance
			}
			if c := cost[k] + distance; c < least { // of two equally near ones the earlier
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
