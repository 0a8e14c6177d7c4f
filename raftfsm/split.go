package raftfsm

import (
	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// The largest encoded sizes of elements, in bytes, without their guids and texts.
const (
	entryExtra   = 64 // an entry with one record
	numberExtra  = 10 // one number in a column
	commandExtra = 160
	claimExtra   = 64
	outcomeExtra = 48
	textExtra    = 8
)

// Split cuts a record into parts. An entry with one part has at most maxBytes. To apply the parts in order, in one
// entry or in several, has the same effect as to apply r. DesiredCommit.Parts counts the parts of DesiredChanges. A
// record that fits, or that cannot be cut, is returned as it is. The parts share r's memory.
func Split(r Record, maxBytes int) []Record {
	c := cutter{room: max(maxBytes-entryExtra, 1)}
	switch r := r.(type) {
	case DesiredChanges:
		cut(&c, r.Removes, keySize, func(p []app.Key) { c.take(DesiredChanges{Generation: r.Generation, Removes: p}) })
		cut(&c, r.Upserts, func(d desired.App) int { return keySize(d.Key) + 4*numberExtra }, func(p []desired.App) {
			c.take(DesiredChanges{Generation: r.Generation, Upserts: p})
		})
	case DEAChanges:
		c.room = max(c.room-len(r.DEA), 1)
		cut(&c, r.Removes, guidSize, func(p []app.GUID) { c.take(DEAChanges{DEA: r.DEA, Removes: p}) })
		size := func(i actual.Instance) int { return keySize(i.App) + guidSize(i.GUID) + 3*numberExtra }
		cut(&c, r.Upserts, size, func(p []actual.Instance) { c.take(DEAChanges{DEA: r.DEA, Upserts: p}) })
	case DEAsGone:
		cut(&c, r.DEAs, textSize, func(p []string) { c.take(DEAsGone{DEAs: p}) })
	case DEAsForgotten:
		cut(&c, r.DEAs, textSize, func(p []string) { c.take(DEAsForgotten{DEAs: p}) })
	case CommandsScheduled:
		cut(&c, r.Commands, commandSize, func(p []commands.Command) { c.take(CommandsScheduled{Commands: p}) })
	case CommandsClaimed:
		cut(&c, r.Claims, func(Claim) int { return claimExtra }, func(p []Claim) { c.take(CommandsClaimed{Claims: p}) })
	case CommandsResolved:
		size := func(o Outcome) int { return outcomeExtra + len(o.Detail) }
		cut(&c, r.Outcomes, size, func(p []Outcome) { c.take(CommandsResolved{Outcomes: p}) })
	case CrashesForgotten:
		size := func(f CrashRef) int { return keySize(f.App) + numberExtra }
		cut(&c, r.Crashes, size, func(p []CrashRef) { c.take(CrashesForgotten{Crashes: p}) })
	}
	if c.size <= c.room || len(c.parts) == 0 {
		return []Record{r}
	}
	return c.parts
}

type cutter struct {
	room  int // bytes allowed in a part
	size  int // bytes of all parts together
	parts []Record
}

func (c *cutter) take(r Record) { c.parts = append(c.parts, r) }

// cut calls part with pieces of list. Each piece has at most c.room bytes, or one element.
func cut[T any](c *cutter, list []T, size func(T) int, part func([]T)) {
	start, used := 0, 0
	for i := range list {
		n := size(list[i])
		if i > start && used+n > c.room {
			part(list[start:i:i])
			start, used = i, 0
		}
		used += n
		c.size += n
	}
	if start < len(list) {
		part(list[start:len(list):len(list)])
	}
}

func guidSize(g app.GUID) int {
	if _, form := g.Binary(); form != 0 {
		return guidWire
	}
	return 2 + len(g.String())
}

func keySize(k app.Key) int { return guidSize(k.Droplet) + guidSize(k.Version) }

func textSize(s string) int { return len(s) + textExtra }

func commandSize(c commands.Command) int {
	return commandExtra + keySize(c.App) + guidSize(c.Instance) + guidSize(c.Crashed)
}
