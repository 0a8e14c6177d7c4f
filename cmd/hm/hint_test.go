package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// rightArgs are arguments with which a command reaches the node that it asks.
var rightArgs = map[string][]string{
	"hm app": {"a0000001"}, "hm explain": {"a0000001"}, "hm dea": {"1-dea-one"}, "hm commands cancel": {"473c8419-88f5-8841-80d7-4b505c85dbb0"},
	"hm hold": {"work"}, "hm release": {"work"}, "hm top": {"--once"},
}

// hinted runs hm with arguments that must fail, and demands one error and one hint.
func hinted(t *testing.T, args ...string) {
	t.Helper()
	var told strings.Builder
	code := newCLI(strings.NewReader(""), io.Discard, &told).run(t.Context(), args)
	text := told.String()
	if code != 1 || !strings.HasPrefix(text, "hm: ") || strings.Count(text, "\nhint: ") != 1 || strings.HasSuffix(text, "hint: \n") {
		t.Errorf("hm %s: exit code %d:\n%s", strings.Join(args, " "), code, text)
	}
}

// TestEveryErrorHasAHint walks the errors of each command: those of its flags and arguments, and those of the node that
// it asks.
func TestEveryErrorHasAHint(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"another form": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `5`) },
		"an end":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for _, status := range []int{400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503, 504} {
		answers[fmt.Sprintf("a problem %d", status)] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"type":"urn:hm:problem:x","title":"t","status":%d,"detail":"d"}`, status)
		}
		answers[fmt.Sprintf("a page %d", status)] = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", status) }
	}
	addresses := map[string]string{"nothing": "http://127.0.0.1:1", "no URL": "nonsense"}
	for name, answer := range answers {
		s := httptest.NewServer(answer)
		defer s.Close()
		addresses[name] = s.URL
	}
	for _, cmd := range allCommands() {
		path := strings.Fields(cmd.CommandPath())[1:]
		args := func(more ...string) []string { return append(append([]string{}, path...), more...) }
		hinted(t, args("--frobnicate")...)
		hinted(t, args("-o")...)
		if cmd.HasSubCommands() || cmd.Args != nil && cmd.Name() != "replay" {
			hinted(t, args("one", "two", "three")...)
		}
		if !ownOutput(cmd) && cmd.Runnable() {
			hinted(t, append(args("-o", "xml"), rightArgs[cmd.CommandPath()]...)...)
		}
		if cmd.Flags().Lookup("ca") == nil || cmd.Name() == "record" {
			continue // it asks no node
		}
		for name, addr := range addresses {
			if cmd.Name() == "resume" && (strings.HasSuffix(name, "404") || name == "no JSON" || name == "another form") {
				continue // hm was not paused, or the answer, which it does not read, says that it is no longer
			}
			t.Run(cmd.CommandPath()+" with "+name, func(t *testing.T) {
				hinted(t, append(args("--addr", addr, "--timeout", "5s"), rightArgs[cmd.CommandPath()]...)...)
			})
		}
	}
}

// TestMistakesHaveAHint has mistakes in single flags and ids.
func TestMistakesHaveAHint(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := "http://" + s.Addr()
	for _, line := range []string{
		"drift --limit -1", "drift --kind mising", "drift --app a00", "drift --app nothing", "drift --filter x", "drift --filter x=1",
		"drift --sort-by x", "drift --watch --interval 1ms", "apps --filter running>x", "apps --limit x", "app nothing", "app a00",
		"app a0000001 --index x", "explain nothing/3", "explain a0000003/x", "dea nothing", "dea 1-dea", "commands history --limit 0",
		"commands compare --limit 0", "commands compare --since x", "commands compare --class x", "commands cancel xyz", "commands cancel",
		"commands cancel e496dcb9-2339-86a1-aabe-e8ea1ee21149", "commands cancel 573c8419-88f5-8841-80d7-4b505c85dbb0", "commands frobnicate",
		"events --limit 0", "events --kind x", "events --since x", "events --app nothing", "events --dea nothing", "release nothing",
		"hold x y", "hold x --for 0s", "hold x --until yesterday", "hold x --until 2020-01-01T00:00:00Z", "hold x --for 1h --until 2030-01-01T00:00:00Z",
		"hold a\x01b", "pause --for -1s", "frobnicate", "version -o name", "config print -o name", "config check --set x", "config check --set x.y=1",
		"config check --config /nowhere.yaml", "record", "record -o x --for -1s", "record -o x --rotate-keep 2", "record -o - --rotate-age 1s",
		"record -o x --addr http://127.0.0.1:1", "record -o x --from-api http://127.0.0.1:1 --follow http://127.0.0.1:1", "replay",
		"replay /nowhere.jsonl", "replay x --settle -1", "replay x --react-delay 1s", "replay x --compare --expect y", "replay x --index 1",
		"replay x --year 2020", "replay x --speed fast", "replay x --format y", "dev --for -1s", "dev --nodes 2", "status --ca /nowhere.pem",
	} {
		args := strings.Fields(line)
		if cmd, _, err := newRoot(newCLI(nil, io.Discard, io.Discard)).Find(args); err == nil && asksANode(cmd) {
			args = append(args, "--addr", addr)
		}
		hinted(t, args...)
	}
}

func asksANode(cmd *cobra.Command) bool {
	return cmd.Flags().Lookup("ca") != nil && cmd.Name() != "record"
}
