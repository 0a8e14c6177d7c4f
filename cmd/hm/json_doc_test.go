package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// TestExamplesOfJSON runs the examples of docs/json.md with jq and compares what they print. With HM_TEST_UPDATE set, it
// rewrites what differs.
func TestExamplesOfJSON(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("jq is missing, and HM_TEST_REQUIRE=all asks for it: apt-get install jq")
		}
		t.Skip("needs Debian's package jq")
	}
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const file = "../../docs/json.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```")
	got := blocks.ReplaceAllFunc(doc, func(block []byte) []byte {
		out := []byte("```console\n")
		for line := range strings.Lines(string(blocks.FindSubmatch(block)[1])) {
			command, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				continue
			}
			examples++
			if !strings.Contains(command, "-o json") || !strings.Contains(command, "| jq ") {
				t.Errorf("%s does not show JSON with jq", command)
			}
			var stderr bytes.Buffer
			c := exec.Command("sh", "-c", "set -e; "+command)
			c.Env = append(os.Environ(), "HM_ADDR=http://"+s.Addr(), "GORACE=atexit_sleep_ms=20")
			c.Stderr = &stderr
			printed, err := c.Output()
			if err != nil || stderr.Len() > 0 || len(printed) == 0 {
				t.Errorf("%s: %v %s", command, err, stderr.String())
			}
			out = append(append(out, line...), printed...)
		}
		return append(out, "```"...)
	})
	if examples < 10 {
		t.Errorf("there are %d examples", examples)
	}
	if bytes.Equal(got, doc) {
		return
	}
	if os.Getenv("HM_TEST_UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("docs/json.md differs from what its examples print (HM_TEST_UPDATE=1 rewrites it):\n%s", got)
}
