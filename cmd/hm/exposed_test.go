package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExposedSecrets: hm config check warns of a file with secrets that every user can read, and of nothing else.
func TestExposedSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"everybody reads a secret":   {"api: {username: u, password: sesame}", 0o644, "api.password"},
		"the group reads a secret":   {"api: {username: u, password: sesame}", 0o640, ""},
		"everybody reads no secret":  {"api: {username: u}\nlog: {level: debug}", 0o644, ""},
		"everybody reads a password": {"desired: {bulk: {username: u, password: sesame}}", 0o604, "desired.bulk.password"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hm.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			flags := configFlags{file: file}
			l, _, err := flags.gather()
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(flags.exposedSecrets(l), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Contains(got, "sesame") {
				t.Errorf("the warning is %q, want one of %q", got, c.want)
			}
		})
	}
}
