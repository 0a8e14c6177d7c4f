package server

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/bus/bustest"
	"hm/internal/sim/cc"
)

// TestGenerationsLeaveNothing: again and again every DEA dies and others take its place, every app is deleted and another
// one comes, and every index crashes several times. Once what hm remembers for a while is forgotten, the record, the heap,
// the goroutines, the open files and the files on disk are what they were after the first generation.
func TestGenerationsLeaveNothing(t *testing.T) {
	takesSeconds(t)
	const period = 100 * time.Millisecond
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{nodes: 1, period: period, sets: []string{
		"guard.mass_loss=0", "guard.desired_shrink=0", "policy.backoff_max=3", "raft.snapshot_interval=1s", "raft.snapshot_threshold=100",
		"commands.journal_entries=100",
	}})
	c.awaitConverged()
	var first generation
	for g := range 4 {
		c.replaceFleet(t)
		now := c.rested(t, period)
		t.Logf("generation %d: %v", g, now)
		if g == 0 {
			first = now
			continue
		}
		for name, is := range map[string][2]int{
			"bytes of a snapshot": {first.snapshot, now.snapshot}, "goroutines": {first.goroutines, now.goroutines}, "open files": {first.files, now.files}} {
			if is[1] > is[0]+is[0]/4+4 {
				t.Errorf("after generation %d there are %d %s, after the first one %d", g, is[1], name, is[0])
			}
		}
		if now.names > mostFiles {
			t.Errorf("after generation %d there are %d files in the data directory, want at most %d", g, now.names, mostFiles)
		}
		if now.heap > first.heap+first.heap/2+4<<20 {
			t.Errorf("after generation %d the heap has %d KiB, after the first one %d", g, now.heap>>10, first.heap>>10)
		}
	}
}

// mostFiles is how many files a node has at rest: raft.db, journal.db, peers.json, members.json, and three for each of two
// snapshots.
const mostFiles = 10

// generation is what a fleet leaves when it is at rest.
type generation struct {
	snapshot   int // bytes
	heap       int // bytes, of this whole process
	goroutines int
	files      int // open
	names      int // files in node.data_dir, without those that are being written
}

func (g generation) String() string {
	return fmt.Sprintf("snapshot %d bytes, heap %d KiB, %d goroutines, %d open files, %d files on disk", g.snapshot, g.heap>>10, g.goroutines, g.files, g.names)
}

// replaceFleet replaces every DEA and every app, and lets every index crash.
func (c *testCluster) replaceFleet(t *testing.T) {
	t.Helper()
	old := c.sim.Apps(0, 1_000)
	for _, a := range old {
		n := a.Instances
		if _, err := c.sim.CC.CreateApp(cc.AppSpec{Instances: &n}); err != nil {
			t.Fatal(err)
		}
		if err := c.sim.CC.DeleteApp(a.GUID); err != nil {
			t.Fatal(err)
		}
	}
	var serving []string
	for _, d := range c.sim.Fleet.DEAs(0, 1_000) {
		if d.Status == "serving" {
			serving = append(serving, d.ID)
		}
	}
	if _, err := c.sim.Fleet.Add(len(serving)); err != nil {
		t.Fatal(err)
	}
	for _, id := range serving {
		if err := c.sim.Fleet.Kill(id); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitConverged()
	for range 2 {
		for _, a := range c.sim.Apps(0, 1_000) {
			for i := range a.Instances {
				_ = c.sim.Fleet.CrashInstance(a.GUID, i) // one that starts just now does not
			}
		}
		bustest.Until(t, "a crash is known", func() bool { return c.nodes[0].cluster.View().Counts().Crashed > 0 || !c.sim.State().Converged })
		c.awaitConverged()
	}
}

// rested waits until what hm remembers for a while is forgotten, and gives what is left.
func (c *testCluster) rested(t *testing.T, period time.Duration) (g generation) {
	t.Helper()
	n := c.nodes[0]
	bustest.Until(t, "everything that is over is forgotten", func() bool {
		v := n.cluster.View()
		crashes := 0
		for range v.AllCrashes() {
			crashes++
		}
		count := v.Counts()
		apps := len(slices.Collect(v.Apps()))
		return count.GoneDEAs == 0 && crashes == 0 && count.PendingStarts+count.PendingStops == 0 && apps == len(c.sim.Apps(0, 1_000)) &&
			c.sim.State().Converged && count.Running == c.running()
	})
	time.Sleep(10 * period) // a snapshot, and the journal
	var b bytes.Buffer
	if err := n.cluster.View().WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("HM_TEST_REQUIRE=all asks for the number of open files: %v", err)
		}
		t.Skipf("the open files of this process are not known: %v", err)
	}
	g = generation{snapshot: b.Len(), files: len(open)}
	var m runtime.MemStats
	for range 5 { // the least of some moments
		runtime.GC()
		runtime.ReadMemStats(&m)
		if heap := int(m.HeapAlloc); g.heap == 0 || heap < g.heap {
			g.heap = heap
		}
		if now := runtime.NumGoroutine(); g.goroutines == 0 || now < g.goroutines {
			g.goroutines = now
		}
		if now := filesIn(t, n.cfg.Node.DataDir); g.names == 0 || now < g.names {
			g.names = now
		}
		time.Sleep(period / 2)
	}
	return g
}

// filesIn counts the files in a directory and below it.
func filesIn(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, _ error) error {
		if d != nil && d.Type().IsRegular() {
			n++
		}
		return nil // a snapshot that is removed meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// running gives how many instances run, by what the DEAs say.
func (c *testCluster) running() (n int) {
	for _, a := range c.sim.Apps(0, 1_000) {
		for _, i := range c.sim.Fleet.Instances(a.GUID) {
			if i.State == actual.Running {
				n++
			}
		}
	}
	return n
}
