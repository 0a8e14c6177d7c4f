package raftfsm

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// reader has the methods that State and model have in common.
type reader interface {
	Apply(index, term uint64, e Entry) Result
	App(app.Key) (App, bool)
	Versions(app.GUID) []app.Key
	DesiredVersion(app.GUID) app.GUID
	Instances([]actual.Located, app.Key) []actual.Located
	DEAInstances([]actual.Instance, string) []actual.Instance
	Basis(app.Key, uint32) Basis
	Crashes(app.Key) []actual.Crash
	UnlistedMarks() iter.Seq[CrashMarked]
	Commands(app.Key) []commands.Command
	Holds() []Hold
	DesiredMeta() DesiredMeta
	Counts() Counts
}

// describe writes down everything that the methods of a state return.
func describe(s reader) string {
	var b bytes.Buffer
	for _, d := range randomDroplets {
		fmt.Fprintf(&b, "droplet %v: versions %v, desired in %q\n", d, s.Versions(d), s.DesiredVersion(d))
		for _, v := range randomVersions {
			k := app.Key{Droplet: d, Version: v}
			a, ok := s.App(k)
			fmt.Fprintf(&b, " app %v: %v %+v\n", k, ok, a)
			for _, i := range s.Instances(nil, k) {
				fmt.Fprintf(&b, "  instance %+v\n", i)
			}
			for i := range uint32(4) {
				fmt.Fprintf(&b, "  basis %d: %v\n", i, s.Basis(k, i))
			}
			for _, c := range s.Crashes(k) {
				fmt.Fprintf(&b, "  crash %+v\n", c)
			}
			for _, c := range s.Commands(k) {
				fmt.Fprintf(&b, "  command %+v\n", c)
			}
		}
	}
	for _, id := range randomDEAs {
		list := s.DEAInstances(nil, id)
		slices.SortFunc(list, func(a, b actual.Instance) int { return a.GUID.Compare(b.GUID) })
		fmt.Fprintf(&b, "dea %q: %+v\n", id, list)
	}
	for _, m := range slices.SortedFunc(s.UnlistedMarks(), compareMarked) {
		fmt.Fprintf(&b, "mark %+v\n", m)
	}
	fmt.Fprintf(&b, "holds %+v\nmeta %+v\ncounts %+v\n", s.Holds(), s.DesiredMeta(), s.Counts())
	return b.String()
}

// iterators writes down what the iterators of a State or a model yield.
func iterators(deas func(func(DEA) bool), apps func(func(App) bool), rows func(func(desired.App) bool), cmds func(func(commands.Command) bool), crashes func(func(app.Key, actual.Crash) bool)) string {
	var b bytes.Buffer
	for d := range deas {
		fmt.Fprintf(&b, "dea %+v\n", d)
	}
	for _, a := range slices.SortedFunc(apps, func(a, b App) int { return a.Key.Compare(b.Key) }) {
		fmt.Fprintf(&b, "app %+v\n", a)
	}
	for _, a := range slices.SortedFunc(rows, func(a, b desired.App) int { return a.Key.Compare(b.Key) }) {
		fmt.Fprintf(&b, "row %+v\n", a)
	}
	for c := range cmds {
		fmt.Fprintf(&b, "command %v\n", c.ID.String())
	}
	for k, c := range crashes {
		fmt.Fprintf(&b, "crash %v %+v\n", k, c)
	}
	return b.String()
}

// describeResult writes down a Result. Of an error it writes only the innermost one.
func describeResult(r Result) string {
	keys := slices.SortedFunc(slices.Values(r.Touched), app.Key.Compare)
	var b bytes.Buffer
	fmt.Fprintf(&b, "touched %v\nended %+v\nerr %v\n", keys, r.Ended, r.Err)
	for _, f := range r.Refused {
		sentinel := error(nil)
		for e := f.Err; e != nil; {
			sentinel = e
			u, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			e = u.Unwrap()
		}
		fmt.Fprintf(&b, "refused %d %s %v\n", f.Record, hex.EncodeToString(f.ID[:]), sentinel)
	}
	return b.String()
}

// describeFacts writes down the facts of an entry.
func describeFacts(r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %d\n", r.At)
	for _, f := range r.Facts {
		switch f := f.(type) {
		case CommandFact:
			fmt.Fprintf(&b, "command %+v\n", *f.Command)
		case EndedFact:
			fmt.Fprintf(&b, "ended %+v\n", *f.EndedCommand)
		default:
			fmt.Fprintf(&b, "%T %+v\n", f, f)
		}
	}
	return b.String()
}

// mustBeEqual fails the test with the first line in which two texts differ.
func mustBeEqual(t interface{ Fatalf(string, ...any) }, what, got, want string) {
	if got == want {
		return
	}
	g, w := bytes.Split([]byte(got), []byte("\n")), bytes.Split([]byte(want), []byte("\n"))
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = string(g[i])
		}
		if i < len(w) {
			b = string(w[i])
		}
		if a != b {
			t.Fatalf("%s, line %d:\n got %s\nwant %s", what, i+1, a, b)
		}
	}
}

// recomputed computes the hash of s from all its records.
func recomputed(s *State) Hash {
	var e encoding
	c := *s
	c.sum = sum{}
	for h := range s.apps.len() {
		h := Handle(h)
		if a := s.apps.get(h); a.used() {
			c.sum.add(e.app(s.apps.key(h), a, s.letterCase(h)))
		}
	}
	for n := range s.deas.len() {
		d := *s.deas.get(uint32(n))
		if d == nil {
			continue
		}
		c.sum.add(e.dea(d))
		for i := range d.inst {
			c.sum.add(e.instance(d.seed, &d.inst[i], d.guid(i), s.apps.key(d.inst[i].app)))
		}
	}
	for cmd := range s.AllCommands() {
		c.sum.add(e.command(&cmd))
	}
	for k, cr := range s.AllCrashes() {
		c.sum.add(e.crash(k, &cr))
	}
	for m := range s.allMarks() {
		k := s.apps.key(m.app())
		c.sum.add(e.mark(&k, &m))
	}
	for i := range s.holds {
		c.sum.add(e.hold(&s.holds[i]))
	}
	for i := range s.staged {
		c.sum.add(e.staged(i, &s.staged[i]))
	}
	if s.cluster != (clusterRec{}) {
		c.sum.add(e.cluster(&s.cluster))
	}
	return c.Hash()
}

func snapshotOf(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteSnapshot(&b); err != nil {
		t.Fatalf("WriteSnapshot: %v", err)
	}
	return b.Bytes()
}

// describeRecords writes down what the iterators of a State yield.
func describeRecords(s *State) string {
	return iterators(s.DEAs(), s.Apps(), s.DesiredApps(), s.AllCommands(), s.AllCrashes())
}

// recomputedRecords computes the hash of the records without the header.
func recomputedRecords(s *State) Hash {
	c := *s
	c.index, c.term, c.now, c.rev = 0, 0, 0, 0
	return recomputed(&c)
}

func compareMarked(a, b CrashMarked) int {
	return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index), a.Instance.Compare(b.Instance))
}
