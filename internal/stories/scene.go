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
	"slices"
	"strings"
	"syscall"
	"time"

	"hm/internal/sim"
)

// nodes is the number of nodes of hm in every scene.
const nodes = 3

// scene is a NATS server, a simulated Cloud Foundry and a cluster of hm, each hm in a process of its own.
type scene struct {
	dir     string
	hm      string // the program
	nats    *sim.NATS
	control string   // address of the simulation's control API
	cc      string   // address of its Cloud Controller
	apis    []string // of the nodes
	rafts   []string
	asked   string   // the one that the commands ask
	env     []string // of every command, beside the program's own environment
	nodes   []*process
	started []*process
	files   []*os.File
}

// process is a process of hm.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// start builds hm and starts NATS. The caller closes the scene, also after an error.
func start(ctx context.Context, dir string) (*scene, error) {
	s := &scene{dir: dir, hm: filepath.Join(dir, "hm"), nodes: make([]*process, nodes)}
	build := exec.CommandContext(ctx, "go", "build", "-o", s.hm, "./cmd/hm")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("building hm: %w\n%s", err, out)
	}
	var err error
	if s.nats, err = sim.StartNATS(sim.NATSOptions{}); err != nil {
		return s, err
	}
	ports, err := freePorts(2 + 2*nodes)
	if err != nil {
		return s, err
	}
	s.control, s.cc, s.apis, s.rafts = ports[0], ports[1], ports[2:2+nodes], ports[2+nodes:]
	s.asked = s.apis[0]
	return s, nil
}

// simulation starts the simulated Cloud Foundry. Heartbeats come every second instead of every ten, so that a story takes
// a minute.
func (s *scene) simulation(ctx context.Context, args ...string) error {
	_, err := s.process(ctx, "sim", nil, append([]string{"sim", "--nats", s.nats.URL(), "--heartbeat", "1s", "--cc-passive",
		"--control-listen", s.control, "--cc-listen", s.cc}, args...)...)
	return err
}

// keysOf gives the keys of node i that are different on each machine.
func (s *scene) keysOf(i int) [][2]string {
	var peers []string
	for i, address := range s.rafts {
		peers = append(peers, fmt.Sprintf("hm-%d=%s", i, address))
	}
	return [][2]string{
		{"node.id", fmt.Sprintf("hm-%d", i)},
		{"node.data_dir", fmt.Sprintf("hm-%d", i)},
		{"api.listen", s.apis[i]},
		{"raft.listen", s.rafts[i]},
		{"raft.peers", strings.Join(peers, ",")},
		{"raft.heartbeat_timeout", "2s"}, {"raft.election_timeout", "2s"}, {"raft.lease_timeout", "1s"}, // a busy machine changes no leader
	}
}

// startNode starts node i with arguments and with the keys that are different on each machine.
func (s *scene) startNode(ctx context.Context, i int, args ...string) (err error) {
	var env []string
	for _, k := range s.keysOf(i) {
		env = append(env, "HM_"+strings.ToUpper(strings.ReplaceAll(k[0], ".", "_"))+"="+k[1])
	}
	s.nodes[i], err = s.process(ctx, fmt.Sprintf("hm-%d", i), env, append([]string{"server"}, args...)...)
	return err
}

// stopNode stops node i as its supervisor does, and waits until it has ended.
func (s *scene) stopNode(i int) error { return s.nodes[i].end(syscall.SIGTERM) }

// process starts hm with arguments, and adds what it says to a file. It ends with the scene.
func (s *scene) process(ctx context.Context, name string, env []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, log)
	cmd := exec.CommandContext(ctx, s.hm, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = log, log, s.dir, append(os.Environ(), env...)
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 10*time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, make(chan struct{})}
	s.started = append(s.started, p)
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// end asks a process to end, and waits for it.
func (p *process) end(with os.Signal) error {
	_ = p.cmd.Process.Signal(with) // fails only if it has ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end in 20 s", strings.Join(p.cmd.Args, " "))
	}
}

// close ends every process, the newest first, and waits for it.
func (s *scene) close() {
	for _, p := range slices.Backward(s.started) {
		_ = p.end(syscall.SIGTERM)
	}
	if s.nats != nil {
		s.nats.Stop()
	}
	for _, f := range s.files {
		_ = f.Close()
	}
}

// ask runs a command of hm as a person would, and gives all that it prints.
func (s *scene) ask(ctx context.Context, args ...string) (output string, code int, err error) {
	cmd := exec.CommandContext(ctx, s.hm, args...)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), s.env...), "HM_ADDR=http://"+s.asked, "NO_COLOR=1", "COLUMNS=120", "LINES=40", "TZ=UTC", "USER=ops", "LOGNAME=ops")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 1 {
		return b.String(), exit.ExitCode(), nil
	} else if err != nil {
		return b.String(), 1, fmt.Errorf("hm %s: %w\n%s", strings.Join(args, " "), err, b.String())
	}
	return b.String(), 0, nil
}

// simulate asks the simulation's control API.
func (s *scene) simulate(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.control+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// freePorts gives addresses on loopback on which nothing listens.
func freePorts(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
