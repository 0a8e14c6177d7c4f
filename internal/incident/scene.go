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

	"hm/internal/sim"
)

// The installation. Heartbeats come every second instead of every ten, so that the incident takes a minute.
const (
	nodes = 3
	apps  = 40
	deas  = 12
	zone  = 4 // DEAs in each of three zones
)

// scene is a NATS server, a simulated Cloud Foundry and a cluster of hm, each hm in a process of its own.
type scene struct {
	dir     string
	hm      string // the program
	nats    *sim.NATS
	control string   // address of the simulation's control API
	apis    []string // of the nodes
	asked   string   // the one that the commands ask
	started []*exec.Cmd
	waits   sync.WaitGroup
	files   []*os.File
}

// start builds hm and starts everything. The caller closes the scene, also after an error.
func start(ctx context.Context, dir string) (*scene, error) {
	s := &scene{dir: dir, hm: filepath.Join(dir, "hm")}
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
	s.control = ports[0]
	if err := s.process(ctx, "sim", "sim", "--nats", s.nats.URL(), "--apps", fmt.Sprint(apps), "--deas", fmt.Sprint(deas), "--heartbeat", "1s",
		"--cc-passive", "--connection-per-dea", "--control-listen", s.control, "--cc-listen", ports[1]); err != nil {
		return s, err
	}
	var peers []string
	for i := range nodes {
		peers = append(peers, fmt.Sprintf("hm-%d=%s", i, ports[2+nodes+i]))
	}
	for i := range nodes {
		s.apis = append(s.apis, ports[2+i])
		keys := []string{
			fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + filepath.Join(dir, fmt.Sprintf("hm-%d", i)),
			"raft.listen=" + ports[2+nodes+i], "raft.peers=" + strings.Join(peers, ","),
			"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s", // a busy machine changes no leader
			"api.listen=" + ports[2+i], "nats.servers=" + s.nats.URL(), "desired.bulk.url=http://" + ports[1],
			"policy.heartbeat_period=1s", "policy.start_limit=10", "guard.mass_loss=0.25",
		}
		args := []string{"server"}
		for _, k := range keys {
			args = append(args, "--set", k)
		}
		if err := s.process(ctx, fmt.Sprintf("hm-%d", i), args...); err != nil {
			return s, err
		}
	}
	s.asked = s.apis[0]
	return s, nil
}

// process starts hm with arguments, and writes what it says to a file. It ends with the scene.
func (s *scene) process(ctx context.Context, name string, args ...string) error {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return err
	}
	s.files = append(s.files, log)
	cmd := exec.CommandContext(ctx, s.hm, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 10*time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	s.started = append(s.started, cmd)
	s.waits.Go(func() { _ = cmd.Wait() })
	return nil
}

// close ends every process, and waits for it.
func (s *scene) close() {
	for i := len(s.started) - 1; i >= 0; i-- {
		_ = s.started[i].Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan struct{})
	go func() { s.waits.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		for _, cmd := range s.started {
			_ = cmd.Process.Kill()
		}
		<-ended
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
	cmd.Env = append(os.Environ(), "HM_ADDR=http://"+s.asked, "NO_COLOR=1", "COLUMNS=120", "LINES=40", "TZ=UTC", "USER=ops", "LOGNAME=ops")
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

// endRecording ends the recorder, which was started last, as its user would with Ctrl-C.
func (s *scene) endRecording() error {
	recorder := s.started[len(s.started)-1]
	if err := recorder.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	for range 200 {
		if recorder.Process.Signal(syscall.Signal(0)) != nil { // it has ended, and was waited for
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the recorder does not end")
}
