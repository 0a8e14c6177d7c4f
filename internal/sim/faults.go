package sim

import (
	"errors"
	"fmt"
	"time"
)

// BulkFault is a way in which the bulk API fails.
type BulkFault string

// The bulk API's faults.
const (
	BulkHealthy      BulkFault = ""
	BulkUnauthorized BulkFault = "401"         // refuses every credential
	BulkError        BulkFault = "500"         //
	BulkTimeout      BulkFault = "timeout"     // takes the request and never answers
	BulkTruncated    BulkFault = "truncated"   // 200 with the first half of the JSON
	BulkHTML         BulkFault = "html"        // 200 with a web page, as a proxy would
	BulkSecondPage   BulkFault = "second-page" // the first page is right, each one after it is a 500
	BulkEmpty        BulkFault = "empty"       // 200 without any app
)

// Faults is what is wrong with the simulated Cloud Foundry at present. The zero value is health.
type Faults struct {
	Bulk            BulkFault `json:"bulk"`
	BulkDelay       Duration  `json:"bulk_delay"`       // before each answer of the bulk API
	RespondentDeaf  bool      `json:"respondent_deaf"`  // commands over NATS are dropped unread
	RespondentDelay Duration  `json:"respondent_delay"` // before each command over NATS is taken, one after the other
	LoseStarts      float64   `json:"lose_starts"`      // share, 0 to 1, of accepted starts that reach no DEA
	StartFailure    float64   `json:"start_failure"`    // share, 0 to 1, of starting instances that crash instead of running
}

func (f Faults) validate() error {
	var errs []error
	switch f.Bulk {
	case BulkHealthy, BulkUnauthorized, BulkError, BulkTimeout, BulkTruncated, BulkHTML, BulkSecondPage, BulkEmpty:
	default:
		errs = append(errs, fmt.Errorf("%w: bulk fault %.40q is none of \"\", 401, 500, timeout, truncated, html, second-page, empty", ErrInvalid, string(f.Bulk)))
	}
	for name, share := range map[string]float64{"lose_starts": f.LoseStarts, "start_failure": f.StartFailure} {
		if !(share >= 0 && share <= 1) {
			errs = append(errs, fmt.Errorf("%w: %s is %v, it must be 0 to 1", ErrInvalid, name, share))
		}
	}
	if f.BulkDelay < 0 || f.RespondentDelay < 0 {
		errs = append(errs, fmt.Errorf("%w: a delay must not be negative", ErrInvalid))
	}
	return errors.Join(errs...)
}

// Duration is a time.Duration that is a text such as "1.5s" in JSON.
type Duration time.Duration

// MarshalText gives the duration as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: duration %.40q: write it like 500ms or 10s", ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}
