package releases

import (
	"fmt"
	"slices"
	"strings"

	"hm/raftfsm"
)

// inventory writes down what a state holds, a line each, by the names of today: fields that come later do not change the
// lines of an old release. The lines are sorted: no order is recorded.
func inventory(s *raftfsm.State) string {
	var b strings.Builder
	m, c := s.DesiredMeta(), s.Counts()
	fmt.Fprintf(&b, "index %d term %d time %s\n", s.Index(), s.Term(), s.Time())
	fmt.Fprintf(&b, "cluster %s\n", s.ClusterID())
	fmt.Fprintf(&b, "desired: generation %d at %s from %q complete %v\n", m.Generation, m.CommittedAt, m.Source, m.Complete)
	fmt.Fprintf(&b, "sent: %d starts %d stops\n", c.SentStarts, c.SentStops)
	for a := range s.DesiredApps() {
		fmt.Fprintf(&b, "app %s %s: %d instances %s %s\n", a.Key.Droplet, a.Key.Version, a.Instances, a.State, a.Package)
	}
	for d := range s.DEAs() {
		fmt.Fprintf(&b, "DEA %s gone at %s\n", d.ID, d.GoneAt)
		for _, i := range s.DEAInstances(nil, d.ID) {
			fmt.Fprintf(&b, "instance %s on %s of %s %s index %d %s since %d\n", i.GUID, d.ID, i.App.Droplet, i.App.Version, i.Index, i.State, i.Since)
		}
	}
	for c := range s.AllCommands() {
		fmt.Fprintf(&b, "command %s %s %s %s index %d instance %s: %s, %s\n", c.ID, c.Action, c.App.Droplet, c.App.Version, c.Index, c.Instance, c.Reason, c.State)
	}
	for k, c := range s.AllCrashes() {
		fmt.Fprintf(&b, "crash of %s %s index %d: %d, the last at %s\n", k.Droplet, k.Version, c.Index, c.Count, c.Last)
	}
	for _, h := range s.Holds() {
		fmt.Fprintf(&b, "hold %s by %q: %s\n", h.Name, h.By, h.Reason)
	}
	lines := slices.Sorted(strings.Lines(b.String()))
	return strings.Join(lines, "")
}
