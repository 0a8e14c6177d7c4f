package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// TestSystemd: what a process tells systemd from its start to its end. Of three nodes only this one runs, and NATS is
// away: it serves all the same, and goes on. A node that is stopped for a while says nothing meanwhile.
func TestSystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 4096)
	await := func(want string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%q did not come: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "4000000")
	port := bustest.FreePorts(t, 1)[0]
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	p := startProcess(t, "node", "hm", "server", "--set", "node.data_dir="+filepath.Join(t.TempDir(), "data"),
		"--set", "raft.peers=hm-0="+listen+",hm-1=127.0.0.1:1,hm-2=127.0.0.1:2", "--set", "raft.listen="+listen,
		"--set", "api.listen=127.0.0.1:0", "--set", "nats.servers=nats://127.0.0.1:1")
	await("READY=1")
	await("STATUS=no leader is known; gate closed: ")
	for range 4 { // over a second each: longer than the watchdog waits
		await("WATCHDOG=1")
	}
	p.signal(syscall.SIGHUP)
	await("RELOADING=1")
	await("READY=1")
	p.signal(syscall.SIGSTOP)
	for { // what it had sent before
		if err := conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	p.signal(syscall.SIGCONT)
	await("WATCHDOG=1")
	p.signal(syscall.SIGTERM)
	await("STOPPING=1")
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestSystemdSpeaksNonsense: a start with an environment that cannot be is refused, and says why.
func TestSystemdSpeaksNonsense(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1234")
	var errs strings.Builder
	code := newCLI(strings.NewReader(""), &errs, &errs).run(t.Context(), []string{"server", "--set", "node.data_dir=" + t.TempDir()})
	if code != 1 || !strings.Contains(errs.String(), `NOTIFY_SOCKET "vsock:2:1234"`) {
		t.Errorf("it ended with %d: %s", code, &errs)
	}
}
