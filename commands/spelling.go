package commands

import "hm/internal/app"

// Spelling says in which letter case the guids of a command are written in its message. Most databases of a Cloud
// Controller compare the app and version letter by letter, and DEAs compare the instance so. The spelling is not
// recorded with a command.
type Spelling struct {
	App      app.KeyLetterCase
	Instance app.LetterCase
}

// Droplet gives the text of c's droplet.
func (s Spelling) Droplet(c Command) string { return s.App.Droplet.Spell(c.App.Droplet) }

// Version gives the text of c's version.
func (s Spelling) Version(c Command) string { return s.App.Version.Spell(c.App.Version) }

// InstanceGUID gives the text of the instance that c stops.
func (s Spelling) InstanceGUID(c Command) string { return s.Instance.Spell(c.Instance) }
