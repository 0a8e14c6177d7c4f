package wire

import (
	"errors"
	"fmt"

	"hm/internal/app"
)

// The kinds of errors of the Cloud Controller and the fleet.
var (
	// ErrNotFound: there is no such app, instance or DEA.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the operation is not possible in the present state.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: an argument is out of range or unknown.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable: the Cloud Controller's database did not take a change, or NATS is away and the DEAs cannot be asked.
	ErrUnavailable = errors.New("not available")
	// ErrClosed: the simulation has ended.
	ErrClosed = errors.New("the simulation is closed")
)

// NoApp is the error for an app that does not exist.
func NoApp(guid app.GUID) error { return fmt.Errorf("%w: no app %s", ErrNotFound, guid) }
