package component

import (
	"net"
	"runtime"
	"time"

	"hm/commands"
	"hm/internal/api"
)

// hm9000 is the varz of HM9000's metrics server, which a library for components in Go made.
type hm9000 struct {
	common
	goRuntime
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags"`
	Contexts []metricsContext  `json:"contexts"`
}

// goRuntime is what that library told of the process.
type goRuntime struct {
	NumCPUs       int         `json:"numCPUS"`
	NumGoRoutines int         `json:"numGoRoutines"`
	MemoryStats   memoryStats `json:"memoryStats"`
}

type memoryStats struct {
	Heap        uint64 `json:"numBytesAllocatedHeap"`
	Stack       uint64 `json:"numBytesAllocatedStack"`
	Allocated   uint64 `json:"numBytesAllocated"`
	Mallocs     uint64 `json:"numMallocs"`
	Frees       uint64 `json:"numFrees"`
	LastGCPause uint64 `json:"lastGCPauseTimeNS"`
}

type metricsContext struct {
	Name    string   `json:"name"`
	Metrics []metric `json:"metrics"`
}

type metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// runtimeOf reads what the runtime of this process tells.
func runtimeOf() goRuntime {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return goRuntime{
		NumCPUs: runtime.NumCPU(), NumGoRoutines: runtime.NumGoroutine(),
		MemoryStats: memoryStats{
			Heap: m.HeapAlloc, Stack: m.StackInuse, Allocated: m.Alloc, Mallocs: m.Mallocs, Frees: m.Frees,
			LastGCPause: m.PauseNs[(m.NumGC+255)%256],
		},
	}
}

func hm9000Varz(now common, process goRuntime, f api.Figures, readTook time.Duration) hm9000 {
	ip, _, err := net.SplitHostPort(now.Host)
	if err != nil {
		ip = now.Host
	}
	return hm9000{
		common: now, goRuntime: process, Name: HM9000, Tags: map[string]string{"ip": ip},
		Contexts: []metricsContext{{Name: HM9000, Metrics: hm9000Metrics(f, readTook)}},
	}
}

// hm9000Metrics gives M01 to M15. The ten gauges are -1 while the node does not know enough (M11).
func hm9000Metrics(f api.Figures, readTook time.Duration) []metric {
	gauge := func(name string, n int) metric {
		if !f.Fresh {
			n = -1
		}
		return metric{name, float64(n)}
	}
	total := func(name string, n uint64) metric { return metric{name, float64(n)} }
	return []metric{
		gauge("NumberOfAppsWithAllInstancesReporting", f.Fleet.AppsAllReporting),
		gauge("NumberOfAppsWithMissingInstances", f.Fleet.AppsMissing),
		gauge("NumberOfUndesiredRunningApps", f.Fleet.UndesiredRunning),
		gauge("NumberOfRunningInstances", f.Fleet.Running),
		gauge("NumberOfMissingIndices", f.Fleet.MissingIndices),
		gauge("NumberOfCrashedInstances", f.Fleet.CrashedInstances),
		gauge("NumberOfCrashedIndices", f.Fleet.CrashedIndices),
		gauge("NumberOfDesiredApps", f.Fleet.DesiredApps),
		gauge("NumberOfDesiredInstances", f.Fleet.DesiredInstances),
		gauge("NumberOfDesiredAppsPendingStaging", f.Fleet.PendingStaging),
		total("ReceivedHeartbeats", f.Heard.Heartbeats),
		total("SavedHeartbeats", f.Heard.Heartbeats-min(f.Heard.Heartbeats, f.Heard.HeartbeatsRejected)),
		{"DesiredStateSyncTimeInMilliseconds", float64(readTook.Microseconds()) / 1000},
		total("StartMissing", f.Sent[commands.ReasonMissing]),
		total("StartCrashed", f.Sent[commands.ReasonCrashed]),
		total("StartEvacuating", f.Sent[commands.ReasonEvacuating]),
		total("StopExtra", f.Sent[commands.ReasonExtra]),
		total("StopDuplicate", f.Sent[commands.ReasonDuplicate]),
		total("StopEvacuationComplete", f.Sent[commands.ReasonEvacuationComplete]),
	}
}
