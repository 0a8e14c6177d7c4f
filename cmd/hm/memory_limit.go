package main

import (
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// limitMemory makes the garbage collector keep this process below the limit of its container or systemd unit: it works more
// the nearer the process is to nine tenths of the limit. Without that a collection may come too late, and the kernel kills
// the process. GOMEMLIMIT and AUTOMEMLIMIT win.
func limitMemory(logger *slog.Logger) {
	limit, err := memlimit.Set()
	switch {
	case err != nil:
		logger.Debug("the limit of this process's memory is not known", "error", err)
	case limit < math.MaxInt64:
		logger.Info("the garbage collector keeps to a limit", "bytes", limit)
	}
}
