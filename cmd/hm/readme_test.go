package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"hm/internal/server"
)

// A node accepts the configuration in the README.
func TestReadmeSampleIsValid(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile("(?s)```yaml\n(# hm\\.yml\n.*?)```").FindSubmatch(readme)
	if sample == nil {
		t.Fatal("the README has no sample of hm.yml")
	}
	for name, yaml := range map[string][]byte{
		"as it is": sample[1],
		"insecure": regexp.MustCompile(`(?m)^  tls: .*$`).ReplaceAll(sample[1], []byte("  insecure: true")),
	} {
		file := filepath.Join(t.TempDir(), "hm.yml")
		if err := os.WriteFile(file, yaml, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := (&configFlags{file: file}).load()
		if err == nil {
			err = server.Check(l.Config)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	open := regexp.MustCompile(`(?m)^  tls: .*\n`).ReplaceAll(sample[1], nil)
	file := filepath.Join(t.TempDir(), "hm.yml")
	if err := os.WriteFile(file, open, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&configFlags{file: file}).load(); err == nil ||
		!bytes.Contains([]byte(err.Error()), []byte("raft.insecure")) {
		t.Errorf("without TLS: the error is %v, want one that names raft.insecure", err)
	}
}
