package raftfsm

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// Random entries use few droplets, versions, DEAs and guids, in all three forms, so that they often concern the same
// ones.
var (
	randomDroplets = guids("a", 4)
	randomVersions = guids("b", 2)
	randomGUIDs    = guids("c", 12)
	randomDEAs     = []string{"dea-0", "dea-1", "dea-2", "dea 3"}
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

// entryGenerator makes random entries. Most of them fit the present state of s, some do not.
type entryGenerator struct {
	t    *rapid.T
	s    *State
	next int // for the ids of commands

	lower bool // desired rows have no capitals
}

func (g *entryGenerator) pick(n int, label string) int {
	return rapid.IntRange(0, n-1).Draw(g.t, label)
}

func (g *entryGenerator) chance(percent int, label string) bool { return g.pick(100, label) < percent }

func (g *entryGenerator) key() app.Key {
	if g.chance(1, "bad key") {
		return app.Key{}
	}
	return app.Key{Droplet: randomDroplets[g.pick(len(randomDroplets), "droplet")], Version: randomVersions[g.pick(len(randomVersions), "version")]}
}

func (g *entryGenerator) guid() app.GUID { return randomGUIDs[g.pick(len(randomGUIDs), "guid")] }

func (g *entryGenerator) index() uint32 {
	if g.chance(1, "bad index") {
		return 1 << 20
	}
	return uint32(g.pick(3, "index"))
}

func (g *entryGenerator) dea() string {
	if g.chance(1, "bad dea") {
		return ""
	}
	return randomDEAs[g.pick(len(randomDEAs), "dea")]
}

func (g *entryGenerator) instance() actual.Instance {
	return actual.Instance{App: g.key(), GUID: g.guid(), Index: g.index(), State: actual.State(1 + g.pick(6, "state")), Since: int64(g.pick(3, "since")) - 1}
}

func (g *entryGenerator) row() desired.App {
	k := g.key()
	var c app.KeyLetterCase
	if !g.lower && g.chance(20, "letter case") {
		c = app.KeyLetterCase{Droplet: app.LetterCaseOf(k.Droplet, strings.ToUpper(k.Droplet.String())), Version: app.LetterCaseOf(k.Version, strings.ToUpper(k.Version.String()))}
	}
	if !g.lower && g.chance(1, "bad letter case") {
		c.Droplet = 1 << 31
	}
	return desired.App{Key: k, LetterCase: c, Instances: uint32(g.pick(4, "instances")), State: desired.RunState(1 + g.pick(2, "run")), Package: desired.PackageState(1 + g.pick(3, "package"))}
}

func (g *entryGenerator) command() commands.Command {
	g.next++
	c := commands.Command{App: g.key(), Index: g.index(), Action: commands.Start, Reason: commands.Reason(1 + g.pick(3, "reason")),
		Priority: float64(g.pick(3, "priority")) / 2, DueAt: app.Time(g.pick(1000, "due")), State: commands.Sent, SentAt: 4, Term: 9}
	c.ID[0], c.ID[1], c.ID[2] = byte(g.next%16), byte(g.next/16%2), 1
	if g.chance(40, "stop") {
		c.Action, c.Instance, c.Reason = commands.Stop, g.guid(), commands.Reason(4+g.pick(3, "reason"))
	} else if c.Reason == commands.ReasonCrashed {
		c.CrashCount, c.Crashed = uint32(g.pick(4, "crash count")), g.guid()
	}
	if g.chance(2, "bad command") {
		c.Action = 7
	}
	return c
}

func (g *entryGenerator) outstanding() (commands.Command, bool) {
	all := slices.Collect(g.s.AllCommands())
	if len(all) == 0 {
		return commands.Command{}, false
	}
	return all[g.pick(len(all), "command")], true
}

func some[T any](g *entryGenerator, most int, draw func() T) []T {
	var out []T
	for range g.pick(most+1, "how many") {
		out = append(out, draw())
	}
	return out
}

func (g *entryGenerator) record() Record {
	switch g.pick(16, "kind") {
	case 0, 1:
		return DesiredChanges{Generation: g.generation(), Upserts: some(g, 4, g.row), Removes: some(g, 2, g.key)}
	case 2, 3:
		return DesiredCommit{Generation: g.generation(), Parts: len(g.s.staged) + g.pick(8, "off")/7, Base: g.s.meta.Generation + uint64(g.pick(8, "base")/7), Source: "drawn"}
	case 4, 5, 6, 7:
		return DEAChanges{DEA: g.dea(), Upserts: some(g, 6, g.instance), Removes: some(g, 3, g.guid)}
	case 8:
		return DEAsGone{DEAs: some(g, 2, g.dea)}
	case 9:
		return DEAsForgotten{DEAs: some(g, 1, g.dea)}
	case 10:
		return InstanceExited{Exit: actual.Exit{App: g.key(), Instance: g.guid(), Index: g.index(), Reason: actual.ExitReason(1 + g.pick(5, "exit"))}}
	case 11, 12:
		return CommandsScheduled{Commands: some(g, 3, g.command)}
	case 13:
		return CommandsClaimed{Claims: some(g, 3, func() Claim {
			c, _ := g.outstanding()
			cl := Claim{ID: c.ID, Term: g.s.term, Basis: g.s.Basis(c.App, c.Index)}
			if g.chance(5, "stale") {
				cl.Basis.Index++
			}
			if g.chance(5, "old term") {
				cl.Term--
			}
			return cl
		})}
	case 14:
		return CommandsResolved{Outcomes: some(g, 3, func() Outcome {
			c, _ := g.outstanding()
			return Outcome{ID: c.ID, State: commands.State(3 + g.pick(6, "outcome")), Detail: "drawn"}
		})}
	}
	switch g.pick(6, "other") {
	case 5:
		return ClusterNamed{ID: ClusterID{0: byte(g.pick(3, "cluster"))}}
	case 4:
		return Noted{Notes: some(g, 2, func() Note {
			c, _ := g.outstanding()
			return Note{Event: []string{"", "leader.changed", "Bad event"}[g.pick(3, "event")], Rule: "R01", Commands: []commands.ID{c.ID}, App: g.key()}
		})}
	case 0, 1:
		return HoldSet{Hold: Hold{Name: string(rune('a' + g.pick(3, "hold"))), Reason: "drawn", Until: app.Time(g.pick(3, "until")),
			Lost: NewPlaces(some(g, 3, func() Place { return Place{App: g.key(), Index: g.index()} }))}}
	case 2:
		return HoldReleased{Name: string(rune('a' + g.pick(3, "hold")))}
	}
	return CrashesForgotten{Crashes: some(g, 2, func() CrashRef {
		ref := CrashRef{App: g.key(), Index: g.index()}
		if g.chance(50, "mark") {
			ref.Instance = g.guid()
		}
		return ref
	})}
}

func (g *entryGenerator) generation() uint64 {
	next := g.s.meta.Generation + 1
	if len(g.s.staged) > 0 {
		next = g.s.staged[0].Generation
	}
	switch g.pick(12, "generation") {
	case 0:
		return next + 1
	case 1:
		return next - 1
	}
	return next
}

func (g *entryGenerator) entry() Entry {
	at := g.s.Time() + app.Time(g.pick(2000, "ms")) - 100
	return Entry{At: max(at, 0), Records: some(g, 4, g.record)}
}
