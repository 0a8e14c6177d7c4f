//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// TestServerOnAFullDisk: hm server on a full file system ends with one sentence and exit code 1.
func TestServerOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("cannot mount a tmpfs, and HM_TEST_REQUIRE=all asks for it: run as root: %v", err)
		}
		t.Skipf("a full disk needs a tmpfs of its own, which only root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	port := bustest.FreePorts(t, 3)
	cmd := exec.CommandContext(ctx, self, "server", "--set", "node.data_dir="+dir, "--set", fmt.Sprintf("raft.listen=127.0.0.1:%d", port[0]),
		"--set", fmt.Sprintf("api.listen=127.0.0.1:%d", port[1]), "--set", fmt.Sprintf("nats.servers=nats://127.0.0.1:%d", port[2]))
	cmd.Env = append(os.Environ(), asVariable+"=hm")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("hm server ended with %v, want exit code 1", err)
	}
	text, hint, _ := strings.Cut(strings.TrimSuffix(stderr.String(), "\n"), "\nhint: ")
	if strings.Contains(text, "\n") || !strings.HasPrefix(hint, "make room") || !strings.Contains(text, "node.data_dir: the disk is full") || !strings.Contains(text, dir) {
		t.Errorf("standard error is %q, want one sentence that names %s and says that the disk is full, and a hint", &stderr, dir)
	}
}
