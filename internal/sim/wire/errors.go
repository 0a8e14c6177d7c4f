package sim

import (
	"errors"
	"fmt"

	"hm/internal/app"
)

// What the methods of Sim refuse, besides an argument out of range.
var (
	// ErrNotFound says that there is no such app, instance or DEA.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that what was asked cannot be in the present state.
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that an argument is not one that the operation takes.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable says that the Cloud Controller's database did not take a change.
	ErrUnavailable = errors.New("not available")
)

func noApp(guid app.GUID) error { return fmt.Errorf("%w: no app %s", ErrNotFound, guid) }
func noDEA(id string) error     { return fmt.Errorf("%w: no DEA %.80q", ErrNotFound, id) }
