package raftfsm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// A small world, so that random entries meet each other: few droplets, versions, DEAs, guids, in all three forms.
var (
	worldDroplets = guids("a", 4)
	worldVersions = guids("b", 2)
	worldGUIDs    = guids("c", 12)
	worldDEAs     = []string{"dea-0", "dea-1", "dea-2", "dea 3"}
)

func guids(tag string, n int) []app.GUID {
	var out []app.GUID
	for i := range n {
		switch i % 3 {
		case 0:
			out = append(out, app.MustGUID(fmt.Sprintf("%s0000000-0000-4000-8000-%012d", tag, i)))
		case 1:
			out = append(out, app.MustGUID(fmt.Sprintf("%s%031d", tag, i)))
		default:
			out = append(out, app.MustGUID(fmt.Sprintf("text-%s-%d", tag, i)))
		}
	}
	return out
}

// world draws entries that fit what s records often enough to get somewhere, and not always.
type world struct {
	t    *rapid.T
	s    *State
	next int // for ids of commands

	small bool // desired rows are spelled without capitals
}

func (w *world) pick(n int, label string) int { return rapid.IntRange(0, n-1).Draw(w.t, label) }

func (w *world) chance(percent int, label string) bool { return w.pick(100, label) < percent }

func (w *world) key() app.Key {
	if w.chance(1, "bad key") {
		return app.Key{}
	}
	return app.Key{Droplet: worldDroplets[w.pick(len(worldDroplets), "droplet")], Version: worldVersions[w.pick(len(worldVersions), "version")]}
}

func (w *world) guid() app.GUID { return worldGUIDs[w.pick(len(worldGUIDs), "guid")] }

func (w *world) index() uint32 {
	if w.chance(1, "bad index") {
		return 1 << 20
	}
	return uint32(w.pick(3, "index"))
}

func (w *world) dea() string {
	if w.chance(1, "bad dea") {
		return ""
	}
	return worldDEAs[w.pick(len(worldDEAs), "dea")]
}

func (w *world) instance() actual.Instance {
	return actual.Instance{App: w.key(), GUID: w.guid(), Index: w.index(), State: actual.State(1 + w.pick(6, "state")), Since: int64(w.pick(3, "since")) - 1}
}

func (w *world) row() desired.App {
	k := w.key()
	var c app.KeyLetterCase
	if !w.small && w.chance(20, "capitals") {
		c = app.KeyLetterCase{Droplet: app.LetterCaseOf(k.Droplet, strings.ToUpper(k.Droplet.String())), Version: app.LetterCaseOf(k.Version, strings.ToUpper(k.Version.String()))}
	}
	if !w.small && w.chance(1, "bad capitals") {
		c.Droplet = 1 << 31
	}
	return desired.App{Key: k, LetterCase: c, Instances: uint32(w.pick(4, "instances")), State: desired.RunState(1 + w.pick(2, "run")), Package: desired.PackageState(1 + w.pick(3, "package"))}
}

func (w *world) command() commands.Command {
	w.next++
	c := commands.Command{App: w.key(), Index: w.index(), Action: commands.Start, Reason: commands.Reason(1 + w.pick(3, "reason")),
		Priority: float64(w.pick(3, "priority")) / 2, DueAt: app.Time(w.pick(1000, "due")), State: commands.Sent, SentAt: 4, Term: 9}
	c.ID[0], c.ID[1], c.ID[2] = byte(w.next%16), byte(w.next/16%2), 1
	if w.chance(40, "stop") {
		c.Action, c.Instance, c.Reason = commands.Stop, w.guid(), commands.Reason(4+w.pick(3, "reason"))
	} else if c.Reason == commands.ReasonCrashed {
		c.CrashCount, c.Crashed = uint32(w.pick(4, "crash count")), w.guid()
	}
	if w.chance(2, "bad command") {
		c.Action = 7
	}
	return c
}

func (w *world) outstanding() (commands.Command, bool) {
	all := slices.Collect(w.s.AllCommands())
	if len(all) == 0 {
		return commands.Command{}, false
	}
	return all[w.pick(len(all), "command")], true
}

func some[T any](w *world, most int, draw func() T) []T {
	var out []T
	for range w.pick(most+1, "how many") {
		out = append(out, draw())
	}
	return out
}

func (w *world) record() Record {
	switch w.pick(16, "kind") {
	case 0, 1:
		return DesiredChanges{Generation: w.generation(), Upserts: some(w, 4, w.row), Removes: some(w, 2, w.key)}
	case 2, 3:
		return DesiredCommit{Generation: w.generation(), Parts: len(w.s.staged) + w.pick(8, "off")/7, Base: w.s.meta.Generation + uint64(w.pick(8, "base")/7), Source: "drawn"}
	case 4, 5, 6, 7:
		return DEAChanges{DEA: w.dea(), Upserts: some(w, 6, w.instance), Removes: some(w, 3, w.guid)}
	case 8:
		return DEAsGone{DEAs: some(w, 2, w.dea)}
	case 9:
		return DEAsForgotten{DEAs: some(w, 1, w.dea)}
	case 10:
		return InstanceExited{Exit: actual.Exit{App: w.key(), Instance: w.guid(), Index: w.index(), Reason: actual.ExitReason(1 + w.pick(5, "exit"))}}
	case 11, 12:
		return CommandsScheduled{Commands: some(w, 3, w.command)}
	case 13:
		return CommandsClaimed{Claims: some(w, 3, func() Claim {
			c, _ := w.outstanding()
			cl := Claim{ID: c.ID, Term: w.s.term, Basis: w.s.Basis(c.App, c.Index)}
			if w.chance(5, "stale") {
				cl.Basis.Index++
			}
			if w.chance(5, "old term") {
				cl.Term--
			}
			return cl
		})}
	case 14:
		return CommandsResolved{Outcomes: some(w, 3, func() Outcome {
			c, _ := w.outstanding()
			return Outcome{ID: c.ID, State: commands.State(3 + w.pick(6, "outcome")), Detail: "drawn"}
		})}
	}
	switch w.pick(4, "other") {
	case 0, 1:
		return HoldSet{Hold: Hold{Name: string(rune('a' + w.pick(3, "hold"))), Reason: "drawn", Until: app.Time(w.pick(3, "until")),
			Lost: NewPlaces(some(w, 3, func() Place { return Place{App: w.key(), Index: w.index()} }))}}
	case 2:
		return HoldReleased{Name: string(rune('a' + w.pick(3, "hold")))}
	}
	return CrashesForgotten{Crashes: some(w, 2, func() CrashRef {
		ref := CrashRef{App: w.key(), Index: w.index()}
		if w.chance(50, "mark") {
			ref.Instance = w.guid()
		}
		return ref
	})}
}

func (w *world) generation() uint64 {
	g := w.s.meta.Generation + 1
	if len(w.s.staged) > 0 {
		g = w.s.staged[0].Generation
	}
	switch w.pick(12, "generation") {
	case 0:
		return g + 1
	case 1:
		return g - 1
	}
	return g
}

func (w *world) entry() Entry {
	at := w.s.Time() + app.Time(w.pick(2000, "ms")) - 100
	return Entry{At: max(at, 0), Records: some(w, 4, w.record)}
}

// facade is what State and model have in common.
type facade interface {
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

// describe writes down everything that a state can be asked.
func describe(s facade) string {
	var b bytes.Buffer
	for _, d := range worldDroplets {
		fmt.Fprintf(&b, "droplet %v: versions %v, desired in %q\n", d, s.Versions(d), s.DesiredVersion(d))
		for _, v := range worldVersions {
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
	for _, id := range worldDEAs {
		list := s.DEAInstances(nil, id)
		slices.SortFunc(list, func(a, b actual.Instance) int { return a.GUID.Compare(b.GUID) })
		fmt.Fprintf(&b, "dea %q: %+v\n", id, list)
	}
	for m := range s.UnlistedMarks() {
		fmt.Fprintf(&b, "mark %+v\n", m)
	}
	fmt.Fprintf(&b, "holds %+v\nmeta %+v\ncounts %+v\n", s.Holds(), s.DesiredMeta(), s.Counts())
	return b.String()
}

// iterators writes down what the iterators of either yield.
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

// recomputed is the hash of everything in s, worked out from nothing.
func recomputed(s *State) Hash {
	var e encoding
	c := *s
	c.sum = sum{}
	for h := range s.apps.len() {
		if a := s.apps.get(uint32(h)); a.used() {
			c.sum.add(e.app(a, s.letterCase(Handle(h))))
		}
	}
	for n := range s.deas.len() {
		d := *s.deas.get(uint32(n))
		if d == nil {
			continue
		}
		c.sum.add(e.dea(d))
		for i := range d.inst {
			c.sum.add(e.instance(d.seed, &d.inst[i], d.guid(i), s.apps.get(uint32(d.inst[i].app)).key))
		}
	}
	for cmd := range s.AllCommands() {
		c.sum.add(e.command(&cmd))
	}
	for k, cr := range s.AllCrashes() {
		c.sum.add(e.crash(k, &cr))
	}
	for m := range s.allMarks() {
		c.sum.add(e.mark(&m))
	}
	for i := range s.holds {
		c.sum.add(e.hold(&s.holds[i]))
	}
	for i := range s.staged {
		c.sum.add(e.staged(i, &s.staged[i]))
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
