package feed

import (
	"fmt"
	"strings"

	"hm/actual"
	"hm/internal/app"
)

// DecodeExit reads a droplet.exited (N10). droplet, version and instance must be guids, index an integer from 0
// to actual.MaxIndex, reason a string; anything else in it is passed over. Words of reason are taken in any case,
// as the Cloud Controller takes them (N09); a word that hm does not know is actual.ExitOther (R36).
func DecodeExit(data []byte) (actual.Exit, error) {
	var e actual.Exit
	var wrong fieldErrors
	seen := map[string]value{}
	if err := readEvent(data, seen); err != nil {
		return e, err
	}
	wrong.guid(seen, "droplet", &e.App.Droplet)
	wrong.guid(seen, "version", &e.App.Version)
	wrong.guid(seen, "instance", &e.Instance)
	if v := seen["index"]; !v.index(&e.Index) {
		wrong.add("index", v, fmt.Sprintf("an integer from 0 to %d", actual.MaxIndex))
	}
	if v := seen["reason"]; !v.absent() {
		if t, ok := v.text(); ok {
			e.Reason = exitReason(string(t))
		}
	}
	if e.Reason == 0 {
		wrong.add("reason", seen["reason"], "a string")
	}
	if err := wrong.err(); err != nil {
		return actual.Exit{}, err
	}
	return e, nil
}

func exitReason(word string) actual.ExitReason {
	for _, r := range []actual.ExitReason{actual.ExitCrashed, actual.ExitShutdown, actual.ExitEvacuation, actual.ExitStopped} {
		if strings.EqualFold(word, r.String()) {
			return r
		}
	}
	return actual.ExitOther
}

// DecodeUpdated reads a droplet.updated (N46): the guid of the droplet that changed.
func DecodeUpdated(data []byte) (app.GUID, error) {
	var g app.GUID
	var wrong fieldErrors
	seen := map[string]value{}
	if err := readEvent(data, seen); err != nil {
		return g, err
	}
	wrong.guid(seen, "droplet", &g)
	return g, wrong.err()
}

// readEvent puts the members of a small message into seen; of a name given twice the last counts.
func readEvent(data []byte, seen map[string]value) error {
	if len(data) > MaxEvent {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxEvent)
	}
	if err := check(data); err != nil {
		return err
	}
	return members(data, func(name []byte, v value) { seen[string(name)] = v })
}

// fieldErrors collects what is wrong with the fields of a message.
type fieldErrors []string

func (e *fieldErrors) guid(seen map[string]value, name string, g *app.GUID) {
	if v := seen[name]; !v.guid(g) {
		e.add(name, v, "a guid")
	}
}

func (e *fieldErrors) add(name string, v value, want string) {
	if v.absent() {
		*e = append(*e, "it has no "+name)
		return
	}
	*e = append(*e, fmt.Sprintf("%s is %.80s, not %s", name, v, want))
}

func (e fieldErrors) err() error {
	if len(e) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMalformed, strings.Join(e, "; "))
}
