// Package importlaw holds the law of who may import whom, as a test that fails with the law's own reason.
package importlaw

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// law is one rule: the packages that match of must not import what matches never, but for except.
type law struct {
	of     []string // package paths below the module; "x/..." takes in everything below x
	never  []string // import paths; "x/..." likewise
	except []string // packages, or package files ("raftfsm/fsm.go"), that the rule does not bind
	why    string
}

var impure = []string{
	"context", "log/...", "sync/...", "os/...", "net/...", "io/fs", "io/ioutil", "database/...", "math/rand/...", "crypto/rand", "runtime/...",
	"github.com/nats-io/...", "github.com/hashicorp/...", "go.etcd.io/...", "github.com/spf13/...", "modernc.org/...", "google.golang.org/...",
}

var pure = []string{"internal/app", "desired", "actual", "diff", "commands"}

var laws = []law{
	{of: pure, never: impure,
		why: "the root packages are the model and the decisions: no I/O, clock, lock or library lets a replay or a test run the very same functions"},
	{of: []string{"internal/app"}, never: []string{"hm/..."},
		why: "identities are at the bottom: whatever they imported, everything would import"},
	{of: []string{"desired", "actual"}, never: []string{"hm/desired/...", "hm/actual/...", "hm/diff", "hm/commands/...", "hm/raftfsm", "hm/internal/..."}, except: []string{"hm/internal/app"},
		why: "what should run and what does run are strangers to each other; only diff compares them"},
	{of: []string{"diff"}, never: []string{"hm/..."}, except: []string{"hm/desired", "hm/actual", "hm/internal/app"},
		why: "the decision sees its input and nothing else"},
	{of: []string{"commands"}, never: []string{"hm/..."}, except: []string{"hm/diff", "hm/desired", "hm/actual", "hm/internal/app"},
		why: "planning sees findings and outstanding commands; how commands travel is commands/natspub's"},
	{of: []string{"raftfsm/..."}, never: []string{"hm/..."}, except: []string{"hm/commands", "hm/desired", "hm/actual", "hm/internal/app", "hm/raftfsm/..."},
		why: "the log records decisions, it does not make them: raftfsm knows no diff, no cluster, no I/O"},
	{of: []string{"raftfsm/..."}, never: []string{"github.com/hashicorp/..."}, except: []string{"raftfsm/fsm.go"},
		why: "only the shim knows hashicorp/raft: a replay applies entries without it"},
	{of: []string{"..."}, never: []string{"github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb/..."}, except: []string{"internal/cluster", "raftfsm/fsm.go"},
		why: "internal/cluster is the only owner of *raft.Raft; others speak of it in domain words"},
	{of: []string{"..."}, never: []string{"github.com/spf13/viper"}, except: []string{"cmd/hm"},
		why: "configuration is read at the edge, once; packages take the typed part they use"},
	{of: []string{"internal/config"}, never: []string{"os/...", "hm/..."}, except: []string{"hm/diff", "hm/internal/config/limits"},
		why: "the configuration's types and checks read no file and know no feature"},
	{of: []string{"internal/cluster", "internal/bus/..."}, never: []string{"hm/diff", "hm/internal/..."}, except: []string{"hm/internal/app", "hm/internal/cluster/...", "hm/internal/bus/...", "hm/internal/sampled", "hm/internal/notify", "hm/internal/tlsfiles", "hm/internal/config/limits"},
		why: "the log and the bus carry; what they carry is decided above them"},
	{of: []string{"internal/config/limits"}, never: []string{"hm/...", "os/..."},
		why: "the configuration and the packages that use its values share these limits: they stay below both"},
	{of: []string{"internal/tlsfiles"}, never: []string{"hm/..."},
		why: "everything that speaks TLS loads its files there, from drivers and transports up to the API: it stays below all of them"},
	{of: []string{"internal/reconcile"}, never: []string{"hm/internal/...", "github.com/..."}, except: []string{"hm/internal/app", "hm/internal/reconcile/...", "hm/internal/notify", "hm/internal/sampled"},
		why: "the loop reaches log, bus and source through ports, which a replay implements without them"},
	{of: []string{"..."}, never: []string{"hm/desired/sqldb/dbtest"}, except: []string{"desired/sqldb/dbtest"},
		why: "database servers are started by tests alone"},
	{of: []string{"desired/sqldb", "desired/sqldb/ccschema"}, never: []string{"hm/..."}, except: []string{"hm/desired", "hm/internal/app", "hm/desired/sqldb/ccschema", "hm/internal/tlsfiles"},
		why: "a driver of the desired state knows its model and its database, nothing else; TLS files are loaded in one place"},
	{of: []string{"desired/bulk"}, never: []string{"hm/..."}, except: []string{"hm/desired", "hm/internal/app"},
		why: "a driver of the desired state knows its model and its wire, nothing else"},
	{of: []string{"internal/sampled", "internal/notify"}, never: []string{"hm/..."},
		why: "small tools know nothing of hm, so that everything but the pure packages may use them"},
	{of: []string{"internal/api/..."}, never: []string{"hm/internal/sim", "hm/internal/recorder", "hm/internal/replay", "hm/internal/config", "hm/cmd/..."},
		why: "the API shows a node; what runs nodes is not its business"},
	{of: []string{"internal/...", "desired/...", "actual/...", "diff", "commands/...", "raftfsm/..."}, never: []string{"hm/internal/sim/...", "hm/cmd/..."}, except: []string{"internal/sim/...", "internal/sandbox"},
		why: "the simulator and the program are on top: the daemon's packages never need them"},
	{of: []string{"internal/sim/cc"}, never: []string{"hm/..."}, except: []string{"hm/desired", "hm/actual", "hm/desired/sqldb/ccschema", "hm/internal/app", "hm/internal/sim/wire"},
		why: "the simulated Cloud Controller does not know the DEAs: it meets them in messages, as a real one does"},
	{of: []string{"internal/sim/fleet"}, never: []string{"hm/..."}, except: []string{"hm/actual", "hm/internal/app", "hm/internal/notify", "hm/internal/sim/wire"},
		why: "the simulated DEAs do not know the Cloud Controller, nor what should run: they do what messages ask for"},
	{of: []string{"internal/sim/wire"}, never: []string{"hm/..."}, except: []string{"hm/internal/app"},
		why: "what the simulated Cloud Controller and DEAs share knows neither of them"},
	{of: []string{"..."}, never: []string{"hm/internal/server"}, except: []string{"cmd/hm", "internal/sandbox", "internal/server"},
		why: "a node is put together in one place, for the programs that run nodes; its parts know their neighbours through ports"},
	{of: []string{"..."}, never: []string{"github.com/nats-io/nats-server/..."}, except: []string{"internal/sim", "internal/bus/bustest"},
		why: "a daemon embeds no NATS server; the simulator and the tests do"},
	{of: []string{"internal/recording/..."}, never: []string{"hm/internal/recorder", "hm/internal/replay", "hm/internal/bus/...", "hm/internal/cluster"},
		why: "the format of recordings knows neither who writes them nor who plays them"},
	{of: []string{"internal/recorder"}, never: []string{"hm/internal/replay"},
		why: "what writes recordings does not play them: the two have the format in common"},
	{of: []string{"internal/replay"}, never: []string{"hm/internal/recorder", "hm/internal/bus/...", "hm/internal/cluster", "hm/internal/api/..."},
		why: "a replay needs no network and no cluster: it reads recordings and runs the reconcile step"},
	{of: []string{"..."}, never: []string{"pgregory.net/rapid", "testing/..."}, except: []string{"internal/bus/bustest", "internal/liveview/ptytest", "internal/recording/recordingtest"},
		why: "test libraries stay out of the program"},
}

func TestImportLaw(t *testing.T) {
	imports := moduleImports(t)
	for file, paths := range imports {
		pkg := path.Dir(file)
		for _, imported := range paths {
			for _, l := range laws {
				if matches(l.of, pkg) && matches(l.never, imported) && !matches(l.except, pkg) && !matches(l.except, imported) && !slices.Contains(l.except, file) {
					t.Errorf("%s imports %s: %s", file, imported, l.why)
				}
			}
		}
	}
}

// TestLawsBind shows that every rule is about packages that exist, so that a renamed one does not slip out.
func TestLawsBind(t *testing.T) {
	packages := map[string]bool{}
	for file := range moduleImports(t) {
		packages[path.Dir(file)] = true
	}
	for _, l := range laws {
		for _, of := range l.of {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(packages)), func(p string) bool { return matches([]string{of}, p) }) {
				t.Errorf("the rule %q is about %s, of which there is no package", l.why, of)
			}
		}
	}
}

func TestNoClockInPurePackages(t *testing.T) {
	root := moduleRoot(t)
	for _, pkg := range append([]string{"raftfsm"}, pure...) {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.After(", "time.Sleep(", "time.NewTimer(", "time.Tick(", "go func"} {
				if strings.Contains(string(text), call) {
					t.Errorf("%s calls %s): time is an argument here, and there are no goroutines", f, call)
				}
			}
		}
	}
}

// matches reports whether a path is one of the patterns, or below one that ends in "/...".
func matches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, all := strings.CutSuffix(pattern, "...")
		return p == pattern || all && (above == "" || p == strings.TrimSuffix(above, "/") || strings.HasPrefix(p, above))
	})
}

// moduleImports gives the direct imports of every file of the module that is not a test.
func moduleImports(t *testing.T) map[string][]string {
	t.Helper()
	root := moduleRoot(t)
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		imports[filepath.ToSlash(name)] = nil
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[filepath.ToSlash(name)] = append(imports[filepath.ToSlash(name)], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("the module's root is not where it should be: %v", err)
	}
	return dir
}
