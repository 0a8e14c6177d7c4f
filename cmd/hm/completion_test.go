package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

// shellScripts ask a shell what it completes after "hm explain a000000". $script has hm's completion.
var shellScripts = map[string]string{
	// _get_comp_words_by_ref stands for the package bash-completion.
	"bash": `_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
source "$script"
COMP_WORDS=(hm explain a000000) COMP_CWORD=2 COMP_LINE="hm explain a000000" COMP_POINT=18 COMP_TYPE=9
__start_hm
printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `compdef() { }
_describe() { print -l -- "${completions[@]}" }
source "$script"
words=(hm explain a000000) CURRENT=3
_hm`,
	"fish": `source $script; complete -C "hm explain a000000"`,
}

// TestShellsComplete drives the real shells.
func TestShellsComplete(t *testing.T) {
	s, err := api.Open(apitest.Fleet().Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	for shell, script := range shellScripts {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				if os.Getenv("HM_TEST_REQUIRE") == "all" {
					t.Fatalf("HM_TEST_REQUIRE=all asks for the Debian package %s: %v", shell, err)
				}
				t.Skipf("install the Debian package %s", shell)
			}
			generated, err := exec.Command("hm", "completion", shell).Output()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "hm."+shell)
			if err := os.WriteFile(path, generated, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), shell, "-c", script)
			cmd.Env = append(os.Environ(), "HM_ADDR=http://"+s.Addr(), "script="+path, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			for i := 1; i <= 9; i++ {
				if want := fmt.Sprintf("a000000%d-0000-4000-8000-00000000000%d", i, i); strings.Count(string(out), want) != 1 {
					t.Errorf("want %s once:\n%s", want, out)
				}
			}
		})
	}
}

// TestCompletionOfManyIDs: a shell writes what all ids that it is told have in common. If there are too many, that must
// still be what all ids have in common.
func TestCompletionOfManyIDs(t *testing.T) {
	n := apitest.New()
	for i := range 2 * maxCompletions {
		n.Must(apitest.Start, raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%04d", i), Upserts: []actual.Instance{
			apitest.Instance(app.Key{Droplet: app.MustGUID(fmt.Sprintf("app-%04d", i)), Version: app.MustGUID("v")}, i, 0, actual.Running),
		}})
	}
	s, err := api.Open(n.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, args := range [][]string{{"app", "app-"}, {"dea", "dea-"}} {
		var out strings.Builder
		if code := newCLI(nil, &out, &out).run(t.Context(), append([]string{"__complete", "--addr", "http://" + s.Addr()}, args...)); code != 0 {
			t.Fatal(&out)
		}
		if n := strings.Count(out.String(), args[1]); n != maxCompletions+1 {
			t.Errorf("%d ids, want %d", n, maxCompletions+1)
		}
		if last := args[1] + "0199\t"; !strings.Contains(out.String(), last) {
			t.Errorf("the last id is not among them:\n%s", &out)
		}
	}
}
