package otherhm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/commands/compare"
	"hm/commands/natspub"
	"hm/internal/app"
)

// Limits on a message.
const (
	maxMessage   = 64 << 10 // bytes
	maxMessageID = 128      // bytes of printable ASCII
	maxCommands  = 1024     // that one message may ask for
)

// ErrMalformed is wrapped by the errors of the decoders.
var ErrMalformed = errors.New("the message is malformed")

// DecodeStart reads an hm9000.start (N21).
func DecodeStart(data []byte) ([]compare.Other, error) {
	s, err := natspub.DecodeStart(data)
	if err == nil {
		err = checkID(s.MessageID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return []compare.Other{{
		Action: commands.Start, App: app.Key{Droplet: s.Droplet, Version: s.Version}, Index: int(s.Index), MessageID: s.MessageID,
	}}, nil
}

// DecodeStop reads an hm9000.stop (N22).
func DecodeStop(data []byte) ([]compare.Other, error) {
	s, err := natspub.DecodeStop(data)
	if err == nil {
		err = checkID(s.MessageID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return []compare.Other{{
		Action: commands.Stop, App: app.Key{Droplet: s.Droplet, Version: s.Version}, Index: int(s.Index), Instance: s.Instance,
		MessageID: s.MessageID, Duplicate: s.IsDuplicate,
	}}, nil
}

func checkID(id string) error {
	if len(id) > maxMessageID {
		return fmt.Errorf("message_id has %d bytes, at most %d are allowed", len(id), maxMessageID)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return fmt.Errorf("message_id has the byte %#02x: only printable ASCII is allowed", id[i])
		}
	}
	return nil
}

// DecodeHealthStart reads a health.start (N17). Its indices become one command each. The Cloud Controller needs
// droplet, version and indices (N18), and so does hm.
func DecodeHealthStart(data []byte) ([]compare.Other, error) {
	var w struct {
		Droplet app.GUID `json:"droplet"`
		Version app.GUID `json:"version"`
		Indices []uint32 `json:"indices"`
	}
	if err := decode(data, &w); err != nil {
		return nil, err
	}
	slices.Sort(w.Indices)
	w.Indices = slices.Compact(w.Indices)
	if w.Droplet.IsZero() || w.Version.IsZero() || len(w.Indices) == 0 || len(w.Indices) > maxCommands || w.Indices[len(w.Indices)-1] > actual.MaxIndex {
		return nil, fmt.Errorf("%w: health.start needs droplet, version, and 1 to %d indices of at most %d", ErrMalformed, maxCommands, actual.MaxIndex)
	}
	list := make([]compare.Other, len(w.Indices))
	for i, index := range w.Indices {
		list[i] = compare.Other{Action: commands.Start, App: app.Key{Droplet: w.Droplet, Version: w.Version}, Index: int(index)}
	}
	return list, nil
}

// DecodeHealthStop reads a health.stop (N19). Each of its instances becomes one command, without an index. A message
// without instances asks the Cloud Controller to stop all of them (N20, W35): it names none that could be compared.
func DecodeHealthStop(data []byte) ([]compare.Other, error) {
	var w struct {
		Droplet   app.GUID            `json:"droplet"`
		Instances map[string]app.GUID `json:"instances"`
	}
	if err := decode(data, &w); err != nil {
		return nil, err
	}
	if w.Droplet.IsZero() || len(w.Instances) == 0 || len(w.Instances) > maxCommands {
		return nil, fmt.Errorf("%w: health.stop needs droplet and 1 to %d instances", ErrMalformed, maxCommands)
	}
	list := make([]compare.Other, 0, len(w.Instances))
	for text, version := range w.Instances {
		instance, err := app.ParseGUID(text)
		if err != nil || version.IsZero() {
			return nil, fmt.Errorf("%w: the instance %.80q of health.stop or its version is not a guid", ErrMalformed, text)
		}
		list = append(list, compare.Other{
			Action: commands.Stop, App: app.Key{Droplet: w.Droplet, Version: version}, Index: -1, Instance: instance,
		})
	}
	slices.SortFunc(list, func(a, b compare.Other) int {
		return cmp.Or(a.Instance.Compare(b.Instance), a.App.Compare(b.App))
	})
	return list, nil
}

func decode(data []byte, v any) error {
	if len(data) > maxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(data), maxMessage)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
