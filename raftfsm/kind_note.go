package raftfsm

import (
	"fmt"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm/internal/wire"
)

// Noted tells the history what only the leader knows, such as the rule that asked for a command. It records nothing: no
// decision and no state depends on a note. A node that does not know the kind skips it. The record is refused whole if
// one of its notes is beyond a limit.
type Noted struct{ Notes []Note }

// Kind is KindNoted.
func (Noted) Kind() Kind { return KindNoted }

// Note is one thing that the leader tells. It belongs to the entry that it is in.
type Note struct {
	// Event is the kind of event that it tells, as in package journal: lower-case words joined by a dot. Empty: the note
	// adds Rule to the events of Commands in the same entry.
	Event    string
	Commands []commands.ID // that it is about
	Rule     string        // that asked for the commands
	App      app.Key       // whose version may be zero
	DEA      string
	Name     string // of a node or a hold
	By       string // who caused it
	Reason   string // cut to 1 KiB
	Detail   string // for people; cut to 1 KiB
	DelayMS  int64  // how long something lasted
	Counts   []NoteCount
}

// NoteCount is a number in a note.
type NoteCount struct {
	Name string
	N    int64
}

// Limits on notes. Reason and Detail may have maxText bytes.
const (
	maxNoteWord   = 64  // bytes of an event, a rule or the name of a count
	maxNoteName   = 256 // bytes of a DEA, a name or an author
	maxNoteCounts = 32
	maxNotes      = 1024 // in a record
)

func applyNoted(a *applier, r Noted) error {
	if len(r.Notes) > maxNotes {
		return fmt.Errorf("%w: %d notes, at most %d are allowed", ErrInvalid, len(r.Notes), maxNotes)
	}
	for i := range r.Notes {
		if err := r.Notes[i].check(); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		n.Reason, n.Detail = clip(n.Reason, maxText), clip(n.Detail, maxText)
		a.fact(NoteFact{n})
	}
	return nil
}

func (n *Note) check() error {
	word := func(c byte) bool { return c >= 'a' && c <= 'z' || c == '.' || c == '-' }
	for i := range len(n.Event) {
		if !word(n.Event[i]) {
			return fmt.Errorf("%w: %.70q cannot be the kind of an event", ErrInvalid, n.Event)
		}
	}
	long := len(n.Event) > maxNoteWord || len(n.Rule) > maxNoteWord || len(n.DEA) > maxNoteName || len(n.Name) > maxNoteName ||
		len(n.By) > maxNoteName || len(n.Counts) > maxNoteCounts
	for _, c := range n.Counts {
		long = long || len(c.Name) > maxNoteWord
	}
	if long {
		return fmt.Errorf("%w: a text of a note is too long, or it has too many counts", ErrInvalid)
	}
	return nil
}

func encodeNoted(r Noted) ([]byte, error) {
	m := wire.Notes{Notes: make([]*wire.Note, len(r.Notes))}
	for i := range r.Notes {
		n := &r.Notes[i]
		w := &wire.Note{
			Event: []byte(n.Event), Rule: []byte(n.Rule), Dea: []byte(n.DEA), Name: []byte(n.Name), By: []byte(n.By),
			Reason: []byte(clip(n.Reason, maxText)), Detail: []byte(clip(n.Detail, maxText)), DelayMs: n.DelayMS,
		}
		for _, id := range n.Commands {
			w.Commands = append(w.Commands, id[:]...)
		}
		if n.App != (app.Key{}) {
			w.App = appendKey(nil, n.App)
		}
		for _, c := range n.Counts {
			w.Counted, w.Counts = append(w.Counted, []byte(c.Name)), append(w.Counts, c.N)
		}
		m.Notes[i] = w
	}
	return marshal(&m)
}

func decodeNoted(b []byte) (Noted, error) {
	var m wire.Notes
	if err := unmarshal(b, &m); err != nil {
		return Noted{}, err
	}
	var r Noted
	for i, w := range m.Notes {
		n, err := decodeNote(w)
		if err != nil {
			return r, fmt.Errorf("note %d: %w", i, err)
		}
		r.Notes = append(r.Notes, n)
	}
	return r, nil
}

func decodeNote(w *wire.Note) (n Note, err error) {
	n = Note{
		Event: string(w.Event), Rule: string(w.Rule), DEA: string(w.Dea), Name: string(w.Name), By: string(w.By),
		Reason: string(w.Reason), Detail: string(w.Detail), DelayMS: w.DelayMs,
	}
	ids := w.Commands
	for ; len(ids) >= len(commands.ID{}); ids = ids[len(commands.ID{}):] {
		n.Commands = append(n.Commands, commands.ID(ids[:len(commands.ID{})]))
	}
	if len(ids) > 0 || len(w.Counted) != len(w.Counts) {
		return n, fmt.Errorf("%d bytes of command ids are left over, or its %d counts have %d names", len(ids), len(w.Counts), len(w.Counted))
	}
	if len(w.App) > 0 {
		if n.App, err = oneKey(w.App, "app"); err != nil {
			return n, err
		}
	}
	for i, name := range w.Counted {
		n.Counts = append(n.Counts, NoteCount{string(name), w.Counts[i]})
	}
	return n, known(w)
}
