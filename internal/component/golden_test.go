package component

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has another text (%v); got:\n%s", file, err, got)
	}
}

// identityOf is the component of a node that began at a known time.
func identityOf(kind string) identity {
	return identity{
		Type: kind, Index: 2, UUID: "2-0123456789abcdef0123456789abcdef", Host: "10.0.0.3:7879",
		Credentials: [2]string{"collector", "fedcba9876543210"},
		Start:       rubyTime(time.Date(2013, 6, 24, 12, 0, 0, 0, time.FixedZone("CEST", 7200))),
	}
}

// figures are numbers of which no two are equal.
func figures() api.Figures {
	return api.Figures{
		Fresh: true,
		Fleet: api.FleetFigures{
			AppsAllReporting: 101, AppsMissing: 102, UndesiredRunning: 103, Running: 104, MissingIndices: 105,
			CrashedInstances: 106, CrashedIndices: 107, DesiredApps: 108, DesiredInstances: 109, PendingStaging: 110,
		},
		Apps: api.AppFigures{
			Desired: 201, DesiredInstances: 202, Started: 203, StartedInstances: 204, Running: 205, Flapping: 206, Missing: 207, Crashes: 208,
		},
		Pass: 301 * time.Millisecond, Queue: 302,
		Heard: api.FeedStats{Heartbeats: 410, HeartbeatsRejected: 9, Exits: 402, Updates: 403},
		Asked: api.QuestionFigures{Status: 501, Health: 502, Droplet: 503},
		Sent: map[commands.Reason]uint64{
			commands.ReasonMissing: 1, commands.ReasonCrashed: 2, commands.ReasonEvacuating: 4,
			commands.ReasonExtra: 8, commands.ReasonDuplicate: 16, commands.ReasonEvacuationComplete: 32,
		},
	}
}

// TestN47Messages: what a component announces and answers.
func TestN47Messages(t *testing.T) {
	up := 26*time.Hour + 3*time.Minute + 5*time.Second + 900*time.Millisecond
	for _, kind := range []string{HealthManager, HM9000} {
		golden(t, kind+".announce.json", append(identityOf(kind).after(up).message(), '\n'))
	}
}

// TestVarz: the members of /varz of both types, each with a number of its own.
func TestVarz(t *testing.T) {
	const readTook = 1250 * time.Millisecond
	now := func(kind string) common {
		return common{identity: identityOf(kind).after(65 * time.Second), Mem: 51_200, CPU: 1.5, NumCores: 8}
	}
	users := 4711
	golden(t, "HealthManager.varz.json", encodeVarz(healthManagerVarz(now(HealthManager), figures(), readTook, &users)))
	golden(t, "HealthManager.varz-first.json", encodeVarz(healthManagerVarz(now(HealthManager), api.Figures{}, 0, nil)))

	process := goRuntime{NumCPUs: 8, NumGoRoutines: 77, MemoryStats: memoryStats{Heap: 1, Stack: 2, Allocated: 3, Mallocs: 4, Frees: 5, LastGCPause: 6}}
	golden(t, "HM9000.varz.json", encodeVarz(hm9000Varz(now(HM9000), process, figures(), readTook)))
	stale := figures()
	stale.Fresh = false
	golden(t, "HM9000.varz-stale.json", encodeVarz(hm9000Varz(now(HM9000), process, stale, readTook))) // M11
}

func TestUptime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0d:0h:0m:0s", 5 * time.Second: "0d:0h:0m:5s", 59*time.Minute + 59*time.Second: "0d:0h:59m:59s",
		24 * time.Hour: "1d:0h:0m:0s", 1000*time.Hour + time.Second: "41d:16h:0m:1s", -time.Second: "0d:0h:0m:0s",
	} {
		if got := uptime(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}
