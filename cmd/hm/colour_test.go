//go:build linux

package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/liveview/ptytest"
)

func TestColourIsForTerminals(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name, noColor, term, flag string
		colour                    bool
	}{
		{"a terminal", "", "xterm", "auto", true},
		{"NO_COLOR", "1", "xterm", "auto", false},
		{"a dumb terminal", "", "dumb", "auto", false},
		{"always", "1", "dumb", "always", true},
		{"never", "", "xterm", "never", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			t.Setenv("TERM", c.term)
			code := -1
			got := ptytest.Output(t, func(program *os.File) {
				code = newCLI(strings.NewReader(""), program, io.Discard).run(t.Context(),
					[]string{"drift", "--color", c.flag, "--addr", "http://" + s.Addr()})
			})
			if code != 0 || !strings.Contains(got, "evacuating") {
				t.Fatalf("exit code %d:\n%s", code, got)
			}
			if strings.Contains(got, "\x1b[31mevacuating\x1b[0m  start") != c.colour ||
				strings.Contains(got, "\x1b") != c.colour {
				t.Errorf("want colour %v:\n%q", c.colour, got)
			}
		})
	}
}
