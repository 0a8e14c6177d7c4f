package reconcile

import (
	"hm/actual"
	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// Running gives what runs of the app of each command, for the messages of HealthManager 2.0. The
// Cloud Controller checks the counts (N18, N20), so they answer its questions, and no instance that
// has left the record counts (W46).
//
// Before a start it asks whether enough runs without it. The count of the command's version is that
// of the wanted indices, besides the command's, with a STARTING or RUNNING instance: a surplus
// instance, a second copy or an evacuating instance serves for no missing index.
//
// Before a stop it asks whether enough is left. A count is that of the instances that are STARTING,
// RUNNING or EVACUATING, without those that a published stop is about to end, and with the instance
// that the command stops, whatever its state.
func Running(view *raftfsm.State, cmds []commands.Command) []commands.Running {
	apps := map[app.GUID]*runningApp{}
	out := make([]commands.Running, len(cmds))
	for i, c := range cmds {
		a := apps[c.App.Droplet]
		if a == nil {
			a = runningOf(view, c.App.Droplet)
			apps[c.App.Droplet] = a
		}
		out[i] = a.beside(c)
	}
	return out
}

// runningApp is what runs of one app, in all its versions.
type runningApp struct {
	desired app.GUID        // its desired version
	stays   []versionStays  // in the order of the versions
	filled  map[uint32]bool // the wanted indices of the desired version with a live instance
	letters app.LetterCase  // of the desired version
}

// versionStays counts the instances of a version that serve, and that no published stop ends.
type versionStays struct {
	version app.GUID
	n       int
}

func runningOf(view *raftfsm.State, droplet app.GUID) *runningApp {
	a := &runningApp{desired: view.DesiredVersion(droplet), filled: map[uint32]bool{}}
	var list []actual.Located
	for _, k := range view.Versions(droplet) {
		ending := map[app.GUID]bool{}
		for _, c := range view.Commands(k) {
			if c.Action == commands.Stop && c.State != commands.Pending {
				ending[c.Instance] = true
			}
		}
		row, _ := view.App(k)
		if k.Version == a.desired {
			a.letters = row.Desired.LetterCase.Version
		}
		stays := versionStays{version: k.Version}
		list = view.Instances(list[:0], k)
		for _, in := range list {
			if k.Version == a.desired && in.State.Live() && in.Index < row.Desired.Instances {
				a.filled[in.Index] = true
			}
			if (in.State.Live() || in.State == actual.Evacuating) && !ending[in.GUID] {
				stays.n++
			}
		}
		a.stays = append(a.stays, stays)
	}
	return a
}

// beside gives what runs besides a command that is about to be published.
func (a *runningApp) beside(c commands.Command) commands.Running {
	r := commands.Running{
		Desired: a.desired, Counts: make([]commands.VersionCount, len(a.stays)),
		Flapping: c.Reason == commands.ReasonCrashed && c.DueAt > c.CreatedAt,
	}
	for i, v := range a.stays {
		n := v.n
		switch {
		case v.version != c.App.Version:
		case c.Action == commands.Stop:
			n++ // its own instance: the stop has been claimed
		case v.version == a.desired:
			n = len(a.filled)
			if a.filled[c.Index] {
				n--
			}
		}
		r.Counts[i] = commands.VersionCount{Version: v.version, Instances: n}
		if v.version == a.desired {
			r.Counts[i].LetterCase = a.letters
		}
	}
	return r
}
