package importlaw

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// module is how the import paths of this module begin.
const module = "hm/"

// imports has the import paths of each file of the module, the file named by its path below the module's root.
type imports map[string][]string

// packages gives the module's packages, sorted.
func (i imports) packages() []string {
	seen := map[string]bool{}
	for file := range i {
		seen[path.Dir(file)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// violations gives a sentence for every import path that l forbids a package to reach, with the chain of imports
// that reaches it.
func (i imports) violations(l law) []string {
	edges := map[string][]string{} // package to import paths, without the files that l excepts
	for _, file := range slices.Sorted(maps.Keys(i)) {
		if !slices.Contains(l.except, file) {
			edges[path.Dir(file)] = append(edges[path.Dir(file)], i[file]...)
		}
	}
	var found []string
	for _, pkg := range i.packages() {
		if !matches(l.of, pkg) || matches(l.except, pkg) {
			continue
		}
		for _, chain := range chains(edges, pkg, l.direct) {
			reached := chain[len(chain)-1]
			if matches(l.never, reached) && !matches(l.except, reached) && !isTool(reached) {
				found = append(found, fmt.Sprintf("%s: %s", strings.Join(chain, " -> "), l.why))
			}
		}
	}
	return found
}

// chains gives, for every import path that a package reaches, a shortest chain of imports from the package to it.
func chains(edges map[string][]string, from string, direct bool) [][]string {
	var all [][]string
	seen := map[string]bool{module + from: true}
	for next := [][]string{{module + from}}; len(next) > 0; next = next[1:] {
		chain := next[0]
		inside, ours := strings.CutPrefix(chain[len(chain)-1], module)
		if !ours || direct && len(chain) > 1 {
			continue
		}
		for _, to := range edges[inside] {
			if !seen[to] {
				seen[to] = true
				longer := append(slices.Clone(chain), to)
				all, next = append(all, longer), append(next, longer)
			}
		}
	}
	return all
}

// isTool reports whether an import path is one of tools.
func isTool(p string) bool {
	inside, ours := strings.CutPrefix(p, module)
	return ours && slices.Contains(tools, inside)
}

// matches reports whether a path is one of the patterns, or below one that ends in "/...".
func matches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, all := strings.CutSuffix(pattern, "...")
		return p == pattern || all && (above == "" || p == strings.TrimSuffix(above, "/") || strings.HasPrefix(p, above))
	})
}

// TestAnAddedArrowIsFound shows on a small graph that a law covers what is reached through other packages, and what
// it lets pass.
func TestAnAddedArrowIsFound(t *testing.T) {
	lawful := imports{
		"raftfsm/state.go":    {"fmt", "hm/commands"},
		"raftfsm/fsm.go":      {"github.com/hashicorp/raft"},
		"commands/command.go": {"hm/internal/app"},
		"diff/app.go":         {"hm/commands"},
		"internal/app/id.go":  {"fmt"},
	}
	noDecision := law{of: []string{"raftfsm/..."}, never: []string{"hm/diff", "os/..."}, why: "the log records"}
	for name, c := range map[string]struct {
		law         law
		file, added string // an import that is added to the lawful ones
		want        []string
	}{
		"nothing is added": {law: noDecision},
		"directly":         {noDecision, "raftfsm/state.go", "hm/diff", []string{"hm/raftfsm -> hm/diff: the log records"}},
		"through a model": {noDecision, "commands/plan.go", "hm/diff",
			[]string{"hm/raftfsm -> hm/commands -> hm/diff: the log records"}},
		"to the standard library, through two": {noDecision, "internal/app/file.go", "os/exec",
			[]string{"hm/raftfsm -> hm/commands -> hm/internal/app -> os/exec: the log records"}},
		"only direct imports count": {
			law{of: []string{"raftfsm"}, never: []string{"hm/diff"}, direct: true, why: "-"}, "commands/plan.go", "hm/diff", nil},
		"an excepted import path": {
			law{of: []string{"raftfsm"}, never: []string{"hm/..."}, except: []string{"hm/commands", "hm/internal/app"}, why: "-"},
			"commands/plan.go", "hm/diff", []string{"hm/raftfsm -> hm/commands -> hm/diff: -"}},
		"a file that is not excepted": {
			law{of: []string{"..."}, never: []string{"github.com/..."}, except: []string{"raftfsm/fsm.go"}, why: "-"},
			"diff/raft.go", "github.com/hashicorp/raft", []string{"hm/diff -> github.com/hashicorp/raft: -"}},
		"an excepted package": {
			law{of: []string{"..."}, never: []string{"github.com/..."}, except: []string{"raftfsm"}, why: "-"},
			"raftfsm/more.go", "github.com/hashicorp/raft", nil},
	} {
		t.Run(name, func(t *testing.T) {
			graph := maps.Clone(lawful)
			if c.file != "" {
				graph[c.file] = append(slices.Clone(graph[c.file]), c.added)
			}
			if got := graph.violations(c.law); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}
