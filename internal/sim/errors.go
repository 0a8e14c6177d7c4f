package sim

import "hm/internal/sim/wire"

// The kinds of errors that the methods of Sim, of the Cloud Controller and of the fleet return.
var (
	ErrNotFound    = wire.ErrNotFound
	ErrConflict    = wire.ErrConflict
	ErrInvalid     = wire.ErrInvalid
	ErrUnavailable = wire.ErrUnavailable
)
