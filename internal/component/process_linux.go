package component

import (
	"bytes"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"
)

var processStart = time.Now()

// processUsage gives the resident memory of this process in KiB, and its processor time in percent of the time since its
// start; 0 for what the system does not tell.
func processUsage() (kib int64, percent float64) {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(text); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			kib = pages * int64(os.Getpagesize()) / 1024
		}
	}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
		percent = math.Round(1000*used.Seconds()/max(time.Since(processStart).Seconds(), 0.001)) / 10
	}
	return kib, percent
}
