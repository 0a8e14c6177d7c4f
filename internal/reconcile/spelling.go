package reconcile

import (
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// Spelling says how the guids of a command are to be written. An app that is desired is written as the Cloud Controller
// writes it, so that its own checks look at that app. What it does not say is written as the DEA that runs the instance
// writes it: then the Cloud Controller most likely did so once, and the DEA finds what it is to stop.
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

// spelledBy gives the capitals that the DEA of a command's instance writes; of a start, those that any DEA writes that
// runs the app.
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
