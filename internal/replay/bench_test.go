package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
)

// benchFleet writes the recording of a fleet to path: of each DEA, which has 100 instances, a number of heartbeats
// (beats). In each of them a share of the instances (churn) has changed. full writes every payload in full; otherwise
// repeated ones are written short.
func benchFleet(tb testing.TB, path string, deas, beats int, churn float64, full bool) {
	tb.Helper()
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	out := io.WriteCloser(file)
	if filepath.Ext(path) == ".zst" {
		if out, err = zstd.NewWriter(file, zstd.WithEncoderConcurrency(1)); err != nil {
			tb.Fatal(err)
		}
	}
	w := recording.WriteTo(out, recording.WriterOptions{})
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	guid := func(kind byte, n int) app.GUID {
		var b [16]byte
		b[0] = kind
		binary.BigEndian.PutUint64(b[4:], uint64(n+1)*0x9e3779b97f4a7c15)
		form := byte('u')
		if kind == 3 {
			form = 'h'
		}
		return app.FromBinary(b, form)
	}
	const per = 100
	rnd := rand.New(rand.NewPCG(1, 2))
	lists := make([][]actual.Instance, deas)
	var apps []desired.App
	for n := range deas * per / 2 {
		k := app.Key{Droplet: guid(1, n), Version: guid(2, n)}
		apps = append(apps, desired.App{Key: k, Instances: 2, State: desired.Started, Package: desired.Staged})
		for i := range 2 {
			d := (n*2 + i*7919) % deas
			lists[d] = append(lists[d], actual.Instance{App: k, GUID: guid(3, 2*n+i), Index: uint32(i), State: actual.Running, Since: start.UnixMilli() - 1000})
		}
	}
	read, err := desired.NewRead("bench", apps)
	if err != nil {
		tb.Fatal(err)
	}
	for beat := range beats {
		for d := range lists {
			t := start.Add(time.Duration(beat)*10*time.Second + time.Duration(d)*10*time.Second/time.Duration(deas))
			if d == 0 && beat%6 == 0 {
				err = errors.Join(err, w.Desired(t, t, read, nil))
			}
			if beat > 0 {
				for range int(churn * per) { // an instance restarts in its place
					i := rnd.IntN(len(lists[d]))
					lists[d][i].GUID, lists[d][i].Since = guid(3, int(rnd.Uint32())|1<<40), t.UnixMilli()
				}
			}
			payload := recording.EncodeHeartbeat(actual.Heartbeat{DEA: fmt.Sprintf("0-%032x", d), Instances: lists[d]})
			if full && beat > 0 {
				_, ferr := fmt.Fprintf(out, `{"t":%q,"type":"nats","subject":"dea.heartbeat","data":%s}`+"\n", t.Format(time.RFC3339Nano), payload)
				err = errors.Join(err, ferr)
			} else {
				err = errors.Join(err, w.Message(t, "dea.heartbeat", payload))
			}
		}
	}
	err = errors.Join(err, w.Close())
	if out != io.WriteCloser(file) {
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func cpuTime(tb testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// number returns the number in an environment variable, or a default.
func number(name string, defaultValue int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return defaultValue
}

// benchDEAs returns the number of DEAs: HM_BENCH_DEAS, or else 1,000. For a short run HM_TEST_BENCH_APPS gives one DEA
// for 200 apps.
func benchDEAs() int {
	return number("HM_BENCH_DEAS", max(number("HM_TEST_BENCH_APPS", 200*1000)/200, 1))
}

// BenchmarkReplay plays the recordings of a fleet, and compares that with only decompressing them and splitting them
// into lines. HM_BENCH_DEAS and HM_BENCH_BEATS set the size; the budget is for 10,000 DEAs and 60 heartbeats of each.
func BenchmarkReplay(b *testing.B) {
	deas := benchDEAs()
	for _, c := range []struct {
		name  string
		beats int
		churn float64
		full  bool
		ext   string
	}{
		{"unchanged", 60, 0, false, ".zst"}, {"unchanged-in-full", 12, 0, true, ".zst"}, {"unchanged-in-full-plain", 12, 0, true, ""}, {"churn-5-percent", 12, 0.05, false, ".zst"},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := os.Getenv("HM_BENCH_DIR") // keeps the files, which take longer to make than to play
			if dir == "" {
				dir = b.TempDir()
			}
			beats := number("HM_BENCH_BEATS", c.beats)
			path := filepath.Join(dir, fmt.Sprintf("%s-%d-%d.jsonl%s", c.name, deas, beats, c.ext))
			if _, err := os.Stat(path); err != nil {
				benchFleet(b, path, deas, beats, c.churn, c.full)
				runtime.GC()
			}
			files, err := recording.Files(path)
			if err != nil {
				b.Fatal(err)
			}
			opts := optionsForTests()
			opts.Settle = -1
			resetPeak()
			var wall, cpu, split, splitCPU, first, firstCPU time.Duration
			var r, cold Result
			for b.Loop() {
				began, c0 := time.Now(), cpuTime(b)
				if r, err = Run(b.Context(), opts, files...); err != nil {
					b.Fatal(err)
				}
				wall, cpu = wall+time.Since(began), cpu+cpuTime(b)-c0
				// The first period is measured apart: everything is new.
				one := opts
				one.Until = app.TimeOf(time.Date(2026, 1, 15, 12, 0, 10, 0, time.UTC)) - 1
				began, c0 = time.Now(), cpuTime(b)
				if cold, err = Run(b.Context(), one, files...); err != nil {
					b.Fatal(err)
				}
				first, firstCPU = first+time.Since(began), firstCPU+cpuTime(b)-c0
				began, c0 = time.Now(), cpuTime(b)
				splitOnly(b, path)
				split, splitCPU = split+time.Since(began), splitCPU+cpuTime(b)-c0
			}
			n := float64(r.Instances * b.N)
			steady := float64((r.Instances - cold.Instances) * b.N)
			b.ReportMetric(n/wall.Seconds()/1e6, "M-inst/s")
			b.ReportMetric(n/cpu.Seconds()/1e6, "M-inst/cpu-s")
			b.ReportMetric(steady/(wall-first).Seconds()/1e6, "M-inst/s-after-the-first-period")
			b.ReportMetric(steady/(cpu-firstCPU).Seconds()/1e6, "M-inst/cpu-s-after-the-first-period")
			b.ReportMetric(wall.Seconds()/split.Seconds(), "x-splitting")
			b.ReportMetric(cpu.Seconds()/splitCPU.Seconds(), "x-splitting-cpu")
			info, _ := os.Stat(path)
			b.ReportMetric(float64(info.Size())/(1<<20), "MiB-stored")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(peakMemory(b), "MiB-peak")
		})
	}
}

// resetPeak resets peakMemory, since making the files takes memory, too. It works on Linux alone.
func resetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// peakMemory returns the peak resident memory of the process in MiB; on other systems than Linux, the memory that the
// Go runtime has.
func peakMemory(tb testing.TB) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if _, rest, ok := bytes.Cut(status, []byte("\nVmHWM:")); err == nil && ok {
		var kib float64
		if _, err := fmt.Sscan(string(rest[:min(len(rest), 40)]), &kib); err != nil {
			tb.Fatal(err)
		}
		return kib / 1024
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / (1 << 20)
}

// splitOnly decompresses a file and splits it into lines.
func splitOnly(tb testing.TB, path string) {
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := recording.Lines(f, func(int, []byte) error { return nil }); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkLargestApp plays three minutes of an app with 65,000 missing instances, or HM_TEST_BENCH_APPS if that is
// less.
func BenchmarkLargestApp(b *testing.B) {
	data := scenes(b)["R42-steady"].record()
	data = bytes.Replace(data, []byte(`"instances":3`), fmt.Appendf(nil, `"instances":%d`, min(number("HM_TEST_BENCH_APPS", 65_000), 65_000)), 1)
	opts := optionsForTests()
	opts.Settle = -1
	for b.Loop() {
		if _, err := Run(b.Context(), opts, recording.Text("f", data)); err != nil {
			b.Fatal(err)
		}
	}
}
