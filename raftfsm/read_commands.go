package raftfsm

import (
	"iter"

	"github.com/zeebo/xxh3"

	"hm/commands"
	"hm/internal/app"
)

// Basis says on which data a decision about one index of an app was made. If two are equal, nothing relevant has
// changed in between.
type Basis struct {
	Desired uint64 // revision of the app's desired row; 0: it has none
	Index   uint64 // fingerprint of the instances (guid, state, DEA) and the claimed or sent commands at the index
}

// Basis returns the present basis of a decision about an index of an app. The app need not be recorded.
func (s *State) Basis(k app.Key, index uint32) Basis {
	var b Basis
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return b
	}
	b.Desired = s.apps.get(h).rev
	var buf [256]byte
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		for i := lo; i < hi; i++ {
			b.Index += xxh3.HashSeed(append(d.guid(i).AppendWire(buf[:0]), byte(d.inst[i].state)), d.seed)
		}
	}
	for c := range s.commandsFrom(k, index) {
		if c.Index != index {
			break
		}
		if c.State != commands.Pending {
			b.Index += xxh3.Hash(c.ID[:])
		}
	}
	return b
}

// Command returns an outstanding command.
func (s *State) Command(id commands.ID) (commands.Command, bool) {
	c, ok := s.byID.Get(commandID{id: id})
	if !ok {
		return commands.Command{}, false
	}
	return *c.c, true
}

// Commands returns an app's outstanding commands, in the order of commands.Command.Compare.
func (s *State) Commands(k app.Key) []commands.Command {
	var out []commands.Command
	for c := range s.commandsFrom(k, 0) {
		out = append(out, *c)
	}
	return out
}

// commandsFrom yields an app's outstanding commands from index on, in order.
func (s *State) commandsFrom(k app.Key, index uint32) iter.Seq[*commands.Command] {
	return func(yield func(*commands.Command) bool) {
		if s.cmds.Len() == 0 {
			return
		}
		s.cmds.Ascend(orderCommand(&commands.Command{App: k, Index: index}), func(r orderedCommand) bool {
			return r.c.App == k && yield(r.c)
		})
	}
}

// HasCommands reports whether an app has outstanding commands.
func (s *State) HasCommands(k app.Key) bool {
	for range s.commandsFrom(k, 0) {
		return true
	}
	return false
}

// AllCommands yields every outstanding command, in the order of commands.Command.Compare.
func (s *State) AllCommands() iter.Seq[commands.Command] {
	return func(yield func(commands.Command) bool) {
		s.cmds.Scan(func(r orderedCommand) bool { return yield(*r.c) })
	}
}
