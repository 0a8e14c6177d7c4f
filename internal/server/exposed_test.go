package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hm/internal/bus/bustest"
	"hm/internal/config"
)

// TestExposedFilesAreLogged: only what users beside the owner and the group can reach.
func TestExposedFilesAreLogged(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	cfg := config.Default()
	cfg.Node.DataDir = filepath.Join(dir, "data")
	if err := os.Mkdir(cfg.Node.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Node.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Raft.TLS.Key, cfg.API.TLS.Key = file("own", 0o600), file("everybody's", 0o644)
	cfg.NATS.Creds, cfg.NATS.TLS.Key = file("the group's", 0o640), filepath.Join(dir, "none")
	var log testLog
	warnOfExposed(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	text := log.String()
	for _, want := range []string{"key=node.data_dir", "key=api.tls.key", "-rw-r--r--", "chmod 600", "chmod 700"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "level=WARN"); n != 2 {
		t.Errorf("%d warnings, want 2:\n%s", n, text)
	}
}

// TestDataDirIsOwn: what a node writes belongs to it alone, whatever the umask allows.
func TestDataDirIsOwn(t *testing.T) {
	free, _ := bustest.FreeAddress(t)
	cfg := configOf(t, []string{
		"node.id=hm-0", "node.data_dir=" + filepath.Join(t.TempDir(), "hm"), "raft.listen=" + free, "api.listen=127.0.0.1:0",
		"nats.servers=nats://127.0.0.1:1",
	})
	n := &testNode{cfg: cfg, logger: slog.New(slog.DiscardHandler)}
	n.open(t)
	defer n.close(t)
	for _, dir := range []string{cfg.Node.DataDir, filepath.Join(cfg.Node.DataDir, "raft")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v, want 0700", dir, info.Mode(), err)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", dir, err, len(files))
		}
		for _, f := range files {
			if info, err := f.Info(); err == nil && !f.IsDir() && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s in %s has the mode %s", f.Name(), dir, info.Mode())
			}
		}
	}
}
