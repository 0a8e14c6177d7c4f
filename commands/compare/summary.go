package compare

import (
	"slices"
	"time"
)

// Summary counts rows.
type Summary struct {
	Both       int
	OtherFirst int // of Both, those that hm had scheduled, and the other issued before they were due
	OnlyHM     int
	OnlyOther  int
	Held       int // of OnlyOther, those at a time when hm held all commands
	Later      int // of the rest of OnlyOther, those that hm had scheduled for a later time
	Hindsight  int
	Open       int
	Unknown    int

	OwnRepeats, OtherRepeats int

	// Delays are of Both, from hm's command to the other's, shortest first; negative where the other was first.
	Delays []time.Duration
}

// Agree reports whether each side issued what the other one did.
func (s Summary) Agree() bool { return s.OnlyHM == 0 && s.OnlyOther == 0 }

// Percentile gives the delay below or at which p percent of the delays are; 0 if there are none. p is 0 to 100.
func (s Summary) Percentile(p int) time.Duration {
	if len(s.Delays) == 0 {
		return 0
	}
	return s.Delays[min(max((len(s.Delays)*p+99)/100-1, 0), len(s.Delays)-1)]
}

// Summarize counts rows.
func Summarize(rows []Row) (s Summary) {
	for _, r := range rows {
		s.OwnRepeats += r.OwnRepeats
		s.OtherRepeats += r.OtherRepeats
		switch r.Class {
		case Both:
			s.Both++
			if r.Own.Decided == 0 {
				s.OtherFirst++
			}
			s.Delays = append(s.Delays, r.Delay)
		case OnlyHM:
			s.OnlyHM++
		case OnlyOther:
			s.OnlyOther++
			switch {
			case len(r.HeldBy) > 0:
				s.Held++
			case r.Later != nil:
				s.Later++
			}
		case Hindsight:
			s.Hindsight++
		case Open:
			s.Open++
		case Unknown:
			s.Unknown++
		}
	}
	slices.Sort(s.Delays)
	return s
}
