package faulttest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Figures are what a node needs at a moment. All sizes are in bytes.
type Figures struct {
	At         time.Duration `json:"at"` // since the begin
	Node       string        `json:"node"`
	RSS        float64       `json:"rss"`
	Heap       float64       `json:"heap"`
	Goroutines float64       `json:"goroutines"`
	Files      float64       `json:"files"` // open file descriptors
	RaftDB     float64       `json:"raft_db"`
	JournalDB  float64       `json:"journal_db"`
	Data       float64       `json:"data"`   // all files of node.data_dir
	Output     float64       `json:"output"` // its log
	Applied    float64       `json:"applied"`
	Snapshot   float64       `json:"snapshot"` // index of the newest one
	Commands   int           `json:"commands"` // that all nodes have sent
}

// FiguresHead is the head of the lines that String gives.
const FiguresHead = "minute  node    RSS MiB  heap MiB  goroutines  files  raft.db KiB  journal.db KiB  data KiB  log KiB  applied  snapshot  commands"

func (f Figures) String() string {
	const mib, kib = 1 << 20, 1 << 10
	return fmt.Sprintf("%6.0f  %-6s %8.1f  %8.1f  %10.0f  %5.0f  %11.0f  %14.0f  %8.0f  %7.0f  %7.0f  %8.0f  %8d", f.At.Minutes(), f.Node, f.RSS/mib, f.Heap/mib,
		f.Goroutines, f.Files, f.RaftDB/kib, f.JournalDB/kib, f.Data/kib, f.Output/kib, f.Applied, f.Snapshot, f.Commands)
}

// figures asks a node for its metrics, and looks at its files.
func (n *node) figures(ctx context.Context) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	metrics, err := n.metrics(ctx)
	if err != nil {
		return Figures{}, err
	}
	f := Figures{
		Node: n.id, RSS: metrics["process_resident_memory_bytes"], Heap: metrics["go_memstats_heap_alloc_bytes"],
		Goroutines: metrics["go_goroutines"], Files: metrics["process_open_fds"],
		Applied: metrics["hm_raft_applied_index"], Snapshot: metrics["hm_raft_snapshot_index"],
	}
	size := func(path string) float64 {
		if info, err := os.Stat(path); err == nil {
			return float64(info.Size())
		}
		return 0 // a snapshot that was removed meanwhile
	}
	f.RaftDB, f.JournalDB, f.Output = size(filepath.Join(n.dir, "raft", "raft.db")), size(filepath.Join(n.dir, "journal.db")), size(n.log)
	return f, filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			f.Data += size(path)
		}
		return nil
	})
}

// metrics gives the metrics without labels.
func (n *node) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.api.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20))
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			found[name] = value
		}
	}
	return found, lines.Err()
}

// grows says what of the figures may not grow, and by how much it varies by itself: by a part, and by an amount.
var grows = []struct {
	name   string
	of     func(Figures) float64
	part   float64
	amount float64
}{
	{"the resident memory", func(f Figures) float64 { return f.RSS }, 0.2, 16 << 20},
	{"the heap", func(f Figures) float64 { return f.Heap }, 0.2, 4 << 20},
	{"the number of goroutines", func(f Figures) float64 { return f.Goroutines }, 0.1, 10},
	{"the number of open files", func(f Figures) float64 { return f.Files }, 0.1, 5},
	{"raft.db", func(f Figures) float64 { return f.RaftDB }, 0.3, 4 << 20},
	{"journal.db", func(f Figures) float64 { return f.JournalDB }, 0.3, 4 << 20},
	{"node.data_dir", func(f Figures) float64 { return f.Data }, 0.3, 8 << 20},
}

// Growth compares the last third of a soak with the third before it, node by node, and gives what grew. The first third
// is the time in which caches fill.
func Growth(all []Figures) (grown []string) {
	of := map[string][]Figures{}
	var nodes []string
	end := time.Duration(0)
	for _, f := range all {
		if of[f.Node] == nil {
			nodes = append(nodes, f.Node)
		}
		of[f.Node] = append(of[f.Node], f)
		end = max(end, f.At)
	}
	slices.Sort(nodes)
	for _, node := range nodes {
		for _, g := range grows {
			var before, after []float64
			for _, f := range of[node] {
				switch {
				case f.At > end*2/3:
					after = append(after, g.of(f))
				case f.At > end/3:
					before = append(before, g.of(f))
				}
			}
			if len(before) == 0 || len(after) == 0 {
				continue
			}
			b, a := median(before), median(after)
			if a > b*(1+g.part)+g.amount {
				grown = append(grown, fmt.Sprintf("%s of %s grew from %.0f to %.0f", g.name, node, b, a))
			}
		}
	}
	return grown
}

func median(values []float64) float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values[len(values)/2]
}
