package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"hm/internal/bus/bustest"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// TestHangupReadsCertificates: SIGHUP makes a node read its certificates again, and without it the node finds new ones by
// itself. The process and a connection that stands go on.
func TestHangupReadsCertificates(t *testing.T) {
	a, dir, port := tlstest.New(t), t.TempDir(), bustest.FreePorts(t, 3)
	write := func(name string) {
		cert, key := a.Issue(name, nil)
		tlstest.Install(t, filepath.Join(dir, "cert"), cert)
		tlstest.Install(t, filepath.Join(dir, "key"), key)
	}
	write("first")
	address := fmt.Sprintf("127.0.0.1:%d", port[0])
	p := startProcess(t, "hm", "hm", "server", "--set", "node.data_dir="+t.TempDir(), "--set", "node.id=hm-0",
		"--set", fmt.Sprintf("raft.listen=127.0.0.1:%d", port[1]), "--set", fmt.Sprintf("nats.servers=nats://127.0.0.1:%d", port[2]),
		"--set", "api.listen="+address, "--set", "api.tls.cert="+filepath.Join(dir, "cert"), "--set", "api.tls.key="+filepath.Join(dir, "key"))
	config, err := tlsfiles.Client(tlsfiles.File{Path: a.CA}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	dial := func() (c *tls.Conn, name string) {
		if c, err = tls.Dial("tcp", address, config); err != nil {
			return nil, ""
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	until := func(want string) (c *tls.Conn) {
		t.Helper()
		name := ""
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if c, name = dial(); name == want {
				return c
			}
			if c != nil {
				_ = c.Close()
			}
		}
		t.Fatalf("the API shows %q, want %q: %v", name, want, err)
		return nil
	}
	stands := until("first")
	write("second")
	p.signal(syscall.SIGHUP)
	until("second")
	write("third")
	until("third")
	_ = stands.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := stands.Write([]byte("GET /healthz HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := stands.Read(answer); err != nil || string(answer) != "HTTP/1.0 200" {
		t.Errorf("the connection that stood is answered with %q, %v", answer, err)
	}
}

// TestHangupDoesNotEndAStart: SIGHUP does not end a node that is still opening its files. This one waits a second for a
// file that another process has, and then says so.
func TestHangupDoesNotEndAStart(t *testing.T) {
	dir, port := t.TempDir(), bustest.FreePorts(t, 3)
	if err := os.Chmod(dir, 0o755); err != nil { // the node warns of it when it begins to open
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	other, err := bbolt.Open(filepath.Join(dir, "raft", "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p := startProcess(t, "hm", "hm", "server", "--set", "node.data_dir="+dir, "--set", "node.id=hm-0",
		"--set", fmt.Sprintf("raft.listen=127.0.0.1:%d", port[0]), "--set", fmt.Sprintf("nats.servers=nats://127.0.0.1:%d", port[1]),
		"--set", fmt.Sprintf("api.listen=127.0.0.1:%d", port[2]))
	says := func() string {
		text, err := os.ReadFile(p.log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(says(), "node.data_dir"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the node does not begin to open its files")
		}
	}
	p.signal(syscall.SIGHUP)
	if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(says(), "in use by another hm process") {
		t.Errorf("the node ended with %v", err)
	}
}
