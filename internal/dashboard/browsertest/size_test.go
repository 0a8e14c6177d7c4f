//go:build !race

package browsertest

import (
	"os"
	"strconv"
	"testing"
)

// largeDEAs returns how many DEAs a large fleet has, each with 100 instances: HM_TEST_DEAS, or few.
func largeDEAs(t testing.TB) int {
	t.Helper()
	set := os.Getenv("HM_TEST_DEAS")
	if set == "" {
		return 100
	}
	n, err := strconv.Atoi(set)
	if err != nil || n < 1 {
		t.Fatalf("HM_TEST_DEAS=%q is not a number of DEAs", set)
	}
	return n
}

// fullSize is the number of DEAs from which on the limits of time count. They are for an idle machine.
const fullSize = 10_000
