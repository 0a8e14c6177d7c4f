package feed

import (
	"fmt"
	"strings"

	"hm/actual"
	"hm/internal/app"
)

// DecodeExit decodes a droplet.exited message (N10). droplet, version and instance must be guids, index an integer from
// 0 to actual.MaxIndex, and reason a string; other members are ignored. The case of reason does not matter, as in the
// Cloud Controller (N09). A reason that hm does not know is actual.ExitOther (R36).
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
	for r := actual.ExitCrashed; r < actual.ExitOther; r++ {
		if strings.EqualFold(word, r.String()) {
			return r
		}
	}
	return actual.ExitOther
}

// DecodeUpdated decodes a droplet.updated message (N46). It returns the guid of the droplet that changed.
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

// readEvent puts the members of a small message into seen. If a name comes twice, the last value counts.
func readEvent(data []byte, seen map[string]value) error {
	if len(data) > MaxEvent {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxEvent)
	}
	if err := check(data); err != nil {
		return err
	}
	return members(data, func(name []byte, v value) { seen[string(name)] = v })
}

// fieldErrors collects the errors in the fields of a message.
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
