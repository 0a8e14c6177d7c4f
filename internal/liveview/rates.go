package liveview

import "time"

// Rates count the commands of each period of time. The zero Rates is empty. It is a value: Add and Start return a new
// one and do not change the old one.
type Rates struct {
	Every   time.Duration // the length of a period; 0: not known
	periods []CommandCounts
}

// CommandCounts counts what happened to commands in one period.
type CommandCounts struct {
	At                       time.Time // when the period began
	Sent, Confirmed, Expired int
}

func (r Rates) clone(more int) Rates {
	kept := r.periods[max(0, len(r.periods)+more-HistoryLength):]
	periods := make([]CommandCounts, len(kept), HistoryLength)
	copy(periods, kept)
	return Rates{Every: r.Every, periods: periods}
}

// NewRates returns rates of periods of a length.
func NewRates(every time.Duration) Rates { return Rates{Every: every} }

// Add counts what happened at a time. What happened before the oldest period is left out.
func (r Rates) Add(at time.Time, sent, confirmed, expired int) Rates {
	if r.Every <= 0 {
		return r
	}
	r = r.Until(at)
	for i := len(r.periods) - 1; i >= 0; i-- {
		if p := &r.periods[i]; !at.Before(p.At) {
			p.Sent, p.Confirmed, p.Expired = p.Sent+sent, p.Confirmed+confirmed, p.Expired+expired
			return r
		}
	}
	return r
}

// Until begins the periods up to a time, so that periods in which nothing happens count as well.
func (r Rates) Until(now time.Time) Rates {
	if r.Every <= 0 {
		return r
	}
	begin := now.Truncate(r.Every)
	if len(r.periods) == 0 {
		r = r.clone(1)
		r.periods = append(r.periods, CommandCounts{At: begin})
		return r
	}
	last := r.periods[len(r.periods)-1].At
	missing := min(int(begin.Sub(last)/r.Every), HistoryLength)
	r = r.clone(max(missing, 0))
	for i := missing - 1; i >= 0; i-- {
		r.periods = append(r.periods, CommandCounts{At: begin.Add(-time.Duration(i) * r.Every)})
	}
	return r
}

// newest returns the newest whole period, or the only one.
func (r Rates) newest() CommandCounts {
	switch n := len(r.periods); n {
	case 0:
		return CommandCounts{}
	case 1:
		return r.periods[0]
	default:
		return r.periods[n-2]
	}
}

func (r Rates) counts(of func(CommandCounts) int) []int {
	out := make([]int, len(r.periods))
	for i, p := range r.periods {
		out[i] = of(p)
	}
	return out
}
