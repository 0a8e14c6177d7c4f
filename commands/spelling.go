package commands

import "hm/internal/app"

// Spelling says how the guids of a command are written for those that it is meant for. The Cloud Controller looks its
// app and version up by the letter where its database does, and passes the instance on to a DEA, which compares by the
// letter too. It is no part of what is recorded of a command.
type Spelling struct {
	App      app.KeyLetterCase
	Instance app.LetterCase
}

// Droplet gives the text of the droplet of c's app.
func (s Spelling) Droplet(c Command) string { return s.App.Droplet.Spell(c.App.Droplet) }

// Version gives the text of the version of c's app.
func (s Spelling) Version(c Command) string { return s.App.Version.Spell(c.App.Version) }

// InstanceGUID gives the text of the instance that c stops.
func (s Spelling) InstanceGUID(c Command) string { return s.Instance.Spell(c.Instance) }
