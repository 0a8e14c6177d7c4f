package cc

import (
	"fmt"
	"time"

	"hm/internal/sim/wire"
)

// BulkFault is a way in which the bulk API fails.
type BulkFault string

// The bulk API's faults.
const (
	BulkHealthy      BulkFault = ""
	BulkUnauthorized BulkFault = "401"         // refuses every credential
	BulkError        BulkFault = "500"         //
	BulkTimeout      BulkFault = "timeout"     // accepts the request and never answers
	BulkTruncated    BulkFault = "truncated"   // 200 with the first half of the JSON
	BulkHTML         BulkFault = "html"        // 200 with a web page, as a proxy would
	BulkSecondPage   BulkFault = "second-page" // the first page is right, each later one is a 500
	BulkEmpty        BulkFault = "empty"       // 200 without any app
	BulkStale        BulkFault = "stale"       // the apps as they were when the fault began, as a lagging replica has them
)

// Validate returns wire.ErrInvalid for a fault that does not exist.
func (f BulkFault) Validate() error {
	switch f {
	case BulkHealthy, BulkUnauthorized, BulkError, BulkTimeout, BulkTruncated, BulkHTML, BulkSecondPage, BulkEmpty, BulkStale:
		return nil
	}
	return fmt.Errorf("%w: bulk fault %.40q is none of \"\", 401, 500, timeout, truncated, html, second-page, empty, stale",
		wire.ErrInvalid, string(f))
}

// Faults is what is wrong with the Cloud Controller at present. The zero value means that it works.
type Faults struct {
	Bulk            BulkFault
	BulkDelay       time.Duration // before each answer of the bulk API
	RespondentDeaf  bool          // commands over NATS are dropped unread
	RespondentDelay time.Duration // before each command over NATS is taken, one after the other
	LoseStarts      float64       // share, 0 to 1, of accepted starts that reach no DEA
	NoRoom          bool          // no DEA fits a start: over HTTP a 503, over NATS silence (N25)
	NoPackage       bool          // an app's package is not found: a start over HTTP is a 404, over NATS nothing happens
}
