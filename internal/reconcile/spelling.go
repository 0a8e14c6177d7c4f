package reconcile

import (
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// Spelling says in which letter case to write the guids of a command. A desired app is written as
// the Cloud Controller writes it, so that the Cloud Controller's own checks find it. Anything else
// is written as the DEA that runs the instance writes it, so that the DEA finds what it is to stop.
func (i *Intake) Spelling(view *raftfsm.State, c commands.Command) commands.Spelling {
	heard := i.spelledBy(view, c)
	s := commands.Spelling{
		App:      app.KeyLetterCase{Droplet: heard[c.App.Droplet], Version: heard[c.App.Version]},
		Instance: heard[c.Instance],
	}
	version := view.DesiredVersion(c.App.Droplet)
	if version.IsZero() {
		return s
	}
	row, ok := view.App(app.Key{Droplet: c.App.Droplet, Version: version})
	if !ok {
		return s
	}
	s.App.Droplet = row.Desired.LetterCase.Droplet
	if version == c.App.Version {
		s.App.Version = row.Desired.LetterCase.Version
	}
	return s
}

// spelledBy gives the letter cases that the DEA of a command's instance writes; for a start, those
// of any DEA that runs the app.
func (i *Intake) spelledBy(view *raftfsm.State, c commands.Command) map[app.GUID]app.LetterCase {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, in := range view.Instances(nil, c.App) {
		if !c.Instance.IsZero() && in.GUID != c.Instance {
			continue
		}
		if h := i.deas[in.DEA]; h != nil && h.capitals != nil {
			return h.capitals
		}
	}
	return nil
}
