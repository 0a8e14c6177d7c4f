package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hm/internal/config"
)

// hmPrints gives what a command prints, which must succeed.
func hmPrints(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := newCLI(strings.NewReader(""), &out, &errs).run(t.Context(), args); code != 0 {
		t.Fatalf("hm %s ended with %d: %s", strings.Join(args, " "), code, &errs)
	}
	return out.String()
}

// TestConfigSample: the sample has each key once, changes nothing as it is, and changes nothing either when every
// comment sign in front of a key is taken away.
func TestConfigSample(t *testing.T) {
	sample := hmPrints(t, "config", "sample")
	uncommented := regexp.MustCompile(`(?m)^( *)#([a-z])`).ReplaceAllString(sample, "$1$2")
	for name, text := range map[string]string{"as it is": sample, "with every key": uncommented} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hm.yml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			hmPrints(t, "config", "check", "--config", file)
			if got, want := hmPrints(t, "config", "print", "--config", file), hmPrints(t, "config", "print"); got != want {
				t.Errorf("it changes the configuration to %s", got)
			}
		})
	}
	for _, key := range config.Keys() {
		name := key.Name[strings.LastIndexByte(key.Name, '.')+1:]
		if !regexp.MustCompile(`(?m)^ +#` + name + ": ").MatchString(sample) {
			t.Errorf("the sample lacks %s", key.Name)
		}
	}
	for line := range strings.Lines(sample) {
		if len(line) > sampleWidth+1 && strings.Contains(line[:len(line)-1], "# ") {
			t.Errorf("too long: %q", line)
		}
	}
}

// TestPackagedConfiguration: what the package puts into /etc/hm/hm.yml is valid, sends nothing, and listens to this
// machine alone.
func TestPackagedConfiguration(t *testing.T) {
	const file = "../../contrib/debian/hm.yml"
	if out := hmPrints(t, "config", "check", "--config", file); out != "ok\n" {
		t.Errorf("hm config check says %q", out)
	}
	l, err := (&configFlags{file: file}).load()
	if err != nil {
		t.Fatal(err)
	}
	if l.Commands.Mode != config.ModeShadow || !strings.HasPrefix(l.Raft.Listen, "127.") || !strings.HasPrefix(l.API.Listen, "127.") ||
		l.Node.DataDir != "/var/lib/hm" {
		t.Errorf("it has the mode %s, listens on %s and %s, and writes to %s", l.Commands.Mode, l.Raft.Listen, l.API.Listen, l.Node.DataDir)
	}
	// Each line that is commented out is one that a person may turn on.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`(?m)^( *)#([a-z])`).ReplaceAllString(string(text), "$1$2")
	whole = strings.NewReplacer(`password: ""`, `password: "x"`, "127.0.0.1:7140 ", "10.0.0.1:7140 ").Replace(whole)
	turnedOn := filepath.Join(t.TempDir(), "hm.yml")
	if err := os.WriteFile(turnedOn, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	if code := newCLI(strings.NewReader(""), io.Discard, &errs).run(t.Context(), []string{"config", "check", "--config", turnedOn}); code != 0 {
		t.Errorf("it is not valid when everything in it is turned on: %s\n%s", &errs, whole)
	}
}
