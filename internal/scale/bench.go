package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bench is all processes of a measurement.
type bench struct {
	size
	dir     string
	program string
	http    *http.Client

	nats, bare, fleet *process
	nodes             []*process
	natsURL           string
	ccURL, control    string
	apis              []string
	rafts             []string

	asking sync.WaitGroup
	stop   context.CancelFunc
	mu     sync.Mutex
	slow   time.Duration // the slowest answer of /v1/status since it was last taken
}

func newBench(ctx context.Context, s size, program string) (b *bench, err error) {
	b = &bench{size: s, program: program, http: &http.Client{Timeout: time.Minute}}
	if b.dir, err = os.MkdirTemp("", "hm-scale-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.showLogs()
			b.close()
		}
	}()
	if b.program == "" {
		b.program = filepath.Join(b.dir, "hm")
		build := exec.CommandContext(ctx, "go", "build", "-o", b.program, "./cmd/hm")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return b, fmt.Errorf("building ./cmd/hm (run this in the root of the project): %w", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return b, err
	}
	ports, err := freePorts(3 + 2*s.nodes)
	if err != nil {
		return b, err
	}
	b.natsURL = fmt.Sprintf("nats://127.0.0.1:%d", ports[0])
	b.ccURL, b.control = fmt.Sprintf("http://127.0.0.1:%d", ports[1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	for i := range s.nodes {
		b.rafts = append(b.rafts, fmt.Sprintf("127.0.0.1:%d", ports[3+2*i]))
		b.apis = append(b.apis, fmt.Sprintf("127.0.0.1:%d", ports[4+2*i]))
	}
	if b.nats, err = start(b.dir, "nats", self, []string{roleVariable + "=" + roleNATS, fmt.Sprintf("%s=%d", portVariable, ports[0])}); err != nil {
		return b, err
	}
	if err := await(ctx, "the NATS server", time.Minute, func() bool { return dials(ports[0]) }); err != nil {
		return b, err
	}
	if b.bare, err = start(b.dir, "bare", self, []string{roleVariable + "=" + roleBare, natsVariable + "=" + b.natsURL}); err != nil {
		return b, err
	}
	b.fleet, err = start(b.dir, "fleet", b.program, nil, "sim", "--nats", b.natsURL,
		"--cc-listen", strings.TrimPrefix(b.ccURL, "http://"), "--control-listen", strings.TrimPrefix(b.control, "http://"),
		"--apps", fmt.Sprint(s.apps()), "--instances-per-app", fmt.Sprint(s.perApp), "--deas", fmt.Sprint(s.deas()),
		"--heartbeat", s.period.String(), "--cc-passive")
	if err != nil {
		return b, err
	}
	return b, await(ctx, "the fleet", 5*time.Minute, func() bool { _, err := b.truth(ctx); return err == nil })
}

// startNode starts a node of hm.
func (b *bench) startNode(i int) error {
	var peers []string
	for j, address := range b.rafts {
		peers = append(peers, fmt.Sprintf("hm-%d=%s", j, address))
	}
	args := []string{"server"}
	for _, set := range []string{
		fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + b.dataDir(i), "raft.listen=" + b.rafts[i], "api.listen=" + b.apis[i],
		"nats.servers=" + b.natsURL, "desired.bulk.url=" + b.ccURL, "policy.heartbeat_period=" + b.period.String(),
		"policy.start_limit=0", "desired.bulk.batch_size=5000", "log.level=warn",
	} {
		args = append(args, "--set", set)
	}
	if b.profiles != "" {
		args = append(args, "--set", "api.pprof=true")
	}
	if b.size.nodes > 1 {
		args = append(args, "--set", "raft.peers="+strings.Join(peers, ","))
	}
	p, err := start(b.dir, fmt.Sprintf("hm-%d", i), b.program, nil, args...)
	if err != nil {
		return err
	}
	if i == len(b.nodes) {
		b.nodes = append(b.nodes, p)
	} else {
		b.nodes[i] = p
	}
	return nil
}

func (b *bench) dataDir(i int) string { return filepath.Join(b.dir, fmt.Sprintf("data-%d", i)) }

// close ends all processes and removes their files.
func (b *bench) close() {
	if b.stop != nil {
		b.stop()
		b.asking.Wait()
	}
	for _, p := range append(b.nodes, b.fleet, b.bare, b.nats) {
		if p != nil {
			p.end(syscall.SIGTERM)
		}
	}
	_ = os.RemoveAll(b.dir)
}

func (b *bench) showLogs() {
	for _, p := range append(b.nodes, b.fleet, b.bare, b.nats) {
		if p != nil {
			fmt.Fprintf(os.Stderr, "the end of the log of %s:\n%s\n", p.name, p.tail())
		}
	}
}

// status is the part of hm's status that is looked at.
type status struct {
	Gate struct {
		Open    bool
		Reasons []string
	}
	Actual   struct{ DEAs, Starting, Running, Instances int }
	Desired  struct{ Apps int }
	Drift    struct{ Missing, Crashed int }
	Commands struct {
		PendingStarts int `json:"pending_starts"`
		SentStarts    int `json:"sent_starts"`
	}
}

func (b *bench) status(ctx context.Context, node int) (s status, err error) {
	return s, b.get(ctx, "http://"+b.apis[node]+"/v1/status", &s)
}

// leader gives the node whose gate is open; -1 if there is none.
func (b *bench) leader(ctx context.Context) int {
	for i := range b.nodes {
		if s, err := b.status(ctx, i); err == nil && s.Gate.Open {
			return i
		}
	}
	return -1
}

// fleetState is the truth that the simulation knows.
type fleetState struct {
	Running, Starting, Missing int
	Converged                  bool
	Commands                   struct{ Needless, Harmful int }
}

func (b *bench) truth(ctx context.Context) (s fleetState, err error) {
	return s, b.get(ctx, b.control+"/state", &s)
}

func (b *bench) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return b.do(req, into)
}

// tell sends a request of the control API.
func (b *bench) tell(ctx context.Context, method, path string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, b.control+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	return b.do(req, nil)
}

func (b *bench) do(req *http.Request, into any) error {
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %.300s", req.Method, req.URL, resp.Status, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// askStatus asks all nodes for their status, ten times a second, and remembers the slowest answer.
func (b *bench) askStatus(ctx context.Context) {
	ctx, b.stop = context.WithCancel(ctx)
	for i := range b.nodes {
		b.asking.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				began := time.Now()
				if _, err := b.status(ctx, i); err == nil {
					b.mu.Lock()
					b.slow = max(b.slow, time.Since(began))
					b.mu.Unlock()
				}
			}
		})
	}
}

// slowest gives the slowest answer of /v1/status since the last call.
func (b *bench) slowest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.slow
	b.slow = 0
	return d
}

var errLate = errors.New("gave up waiting")

// await waits until cond holds.
func await(ctx context.Context, what string, limit time.Duration, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !cond() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w for %s: %w", errLate, what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func dials(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that no port is given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
