package sim

import (
	"errors"
	"fmt"
	"time"

	"hm/internal/sim/cc"
	"hm/internal/sim/wire"
)

// Faults is what is wrong with the simulated Cloud Foundry at present. The zero value means that it works.
type Faults struct {
	Bulk            cc.BulkFault `json:"bulk"`
	BulkDelay       Duration     `json:"bulk_delay"`       // before each answer of the bulk API
	RespondentDeaf  bool         `json:"respondent_deaf"`  // commands over NATS are dropped unread
	RespondentDelay Duration     `json:"respondent_delay"` // before each command over NATS is taken, one after the other
	LoseStarts      float64      `json:"lose_starts"`      // share, 0 to 1, of accepted starts that reach no DEA
	NoRoom          bool         `json:"no_room"`          // no DEA fits an accepted start: 503 over HTTP (N25)
	NoPackage       bool         `json:"no_package"`       // an accepted start finds no package of its app: 404 over HTTP
	StartFailure    float64      `json:"start_failure"`    // share, 0 to 1, of starting instances that crash instead of running
	CCAway          bool         `json:"cc_away"`          // the Cloud Controller is cut off from NATS
	DEAsAway        bool         `json:"deas_away"`        // all DEAs are cut off from NATS
	RouterAway      bool         `json:"router_away"`      // the router is cut off from NATS
}

func (f Faults) validate() error {
	var errs []error
	if err := f.Bulk.Validate(); err != nil {
		errs = append(errs, err)
	}
	for name, share := range map[string]float64{"lose_starts": f.LoseStarts, "start_failure": f.StartFailure} {
		if !(share >= 0 && share <= 1) {
			errs = append(errs, fmt.Errorf("%w: %s is %v, it must be 0 to 1", wire.ErrInvalid, name, share))
		}
	}
	if f.BulkDelay < 0 || f.RespondentDelay < 0 {
		errs = append(errs, fmt.Errorf("%w: a delay must not be negative", wire.ErrInvalid))
	}
	return errors.Join(errs...)
}

// SetFaults replaces the present faults; the zero value ends them all.
func (s *Sim) SetFaults(f Faults) error {
	if err := f.validate(); err != nil {
		return err
	}
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	s.faults = f
	s.CC.SetFaults(cc.Faults{Bulk: f.Bulk, BulkDelay: time.Duration(f.BulkDelay), RespondentDeaf: f.RespondentDeaf,
		RespondentDelay: time.Duration(f.RespondentDelay), LoseStarts: f.LoseStarts,
		NoRoom: f.NoRoom, NoPackage: f.NoPackage})
	s.Fleet.SetStartFailure(f.StartFailure)
	s.links.cc.set(f.CCAway)
	s.links.deas.set(f.DEAsAway)
	s.links.router.set(f.RouterAway)
	return nil
}

// Faults gives the present faults.
func (s *Sim) Faults() Faults {
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	return s.faults
}

// Duration is a time.Duration that is a text such as "1.5s" in JSON.
type Duration time.Duration

// MarshalText gives the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: duration %.40q: write it like 500ms or 10s", wire.ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}
