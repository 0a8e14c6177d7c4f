package journal

import (
	"slices"
	"strings"
)

// Kinds gives every kind of event: first those of the cluster, then those of a node's own.
func Kinds() []Kind {
	return []Kind{
		LeaderChanged, CommandScheduled, CommandSent, CommandDecided, CommandConfirmed, CommandExpired, CommandDropped,
		CommandAbandoned, DEANew, DEALost, DEABack, DEAForgotten, DEADoubled, DEASingle, DEAUnreadable, DEAReadable,
		DEAEvacuating, InstanceCrashed, DesiredRead, HoldSet, HoldReleased, AdminDone, AdminRefused, PictureFresh, QueueDrained,
		LinkLost, LinkBack, GateClosed, GateOpen, OtherStart, OtherStop, OtherListening, OtherUnheard, OtherMissed,
		HistoryGap,
	}
}

// Subjects gives the subjects of all kinds, each once.
func Subjects() (subjects []string) {
	for _, k := range Kinds() {
		s, _, _ := strings.Cut(string(k), ".")
		if !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// IsFilter reports whether Query.Kinds may have text: it is a kind, or the subject of one.
func IsFilter(text string) bool {
	return slices.Contains(Kinds(), Kind(text)) || slices.Contains(Subjects(), text)
}
