package natspub

import (
	"encoding/json"
	"errors"
	"fmt"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// The subjects of commands.
const (
	SubjectStart = "hm9000.start"
	SubjectStop  = "hm9000.stop"
)

// maxMessage is the largest message, in bytes, that DecodeStart and DecodeStop accept.
const maxMessage = 64 << 10

// ErrMalformed is wrapped by the errors of DecodeStart and DecodeStop.
var ErrMalformed = errors.New("command message is malformed")

// Start is the content of an hm9000.start message (N21).
type Start struct {
	MessageID string // a UUID, for the Cloud Controller's log
	Droplet   app.GUID
	Version   app.GUID
	Index     uint32
}

// Stop is the content of an hm9000.stop message (N22).
type Stop struct {
	MessageID   string
	Droplet     app.GUID
	Version     app.GUID
	Instance    app.GUID
	Index       uint32
	IsDuplicate bool // the Cloud Controller stops the instance without a check of its own (N27)
}

// EncodeStart gives the body of hm9000.start for a start command.
func EncodeStart(c commands.Command, s commands.Spelling) []byte {
	return encode(startText{c.ID.String(), s.Droplet(c), s.Version(c), c.Index})
}

// EncodeStop gives the body of hm9000.stop for a stop command.
func EncodeStop(c commands.Command, s commands.Spelling) []byte {
	return encode(stopText{c.ID.String(), s.Droplet(c), s.Version(c), s.InstanceGUID(c), c.Index, c.IsDuplicate()})
}

// startText and stopText are the bodies, their fields in the order in which they are written.
type startText struct {
	MessageID string `json:"message_id"`
	Droplet   string `json:"droplet"`
	Version   string `json:"version"`
	Index     uint32 `json:"instance_index"`
}

type stopText struct {
	MessageID   string `json:"message_id"`
	Droplet     string `json:"droplet"`
	Version     string `json:"version"`
	Instance    string `json:"instance_guid"`
	Index       uint32 `json:"instance_index"`
	IsDuplicate bool   `json:"is_duplicate"`
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("natspub: %T cannot be written as JSON: %v", v, err)) // guids, numbers and flags always can
	}
	return data
}

// DecodeStart reads the body of hm9000.start. It requires every field, as the Cloud Controller does, and ignores
// unknown ones. An error wraps ErrMalformed.
func DecodeStart(data []byte) (Start, error) {
	var w struct {
		MessageID *string   `json:"message_id"`
		Droplet   *app.GUID `json:"droplet"`
		Version   *app.GUID `json:"version"`
		Index     *uint32   `json:"instance_index"`
	}
	if err := decode(data, &w); err != nil {
		return Start{}, err
	}
	if w.MessageID == nil || !given(w.Droplet) || !given(w.Version) || w.Index == nil || *w.Index > actual.MaxIndex {
		return Start{}, fmt.Errorf("%w: hm9000.start needs message_id, droplet, version and an instance_index of at most %d", ErrMalformed, actual.MaxIndex)
	}
	return Start{*w.MessageID, *w.Droplet, *w.Version, *w.Index}, nil
}

// DecodeStop reads the body of hm9000.stop. It requires every field and ignores unknown ones. An error wraps
// ErrMalformed.
func DecodeStop(data []byte) (Stop, error) {
	var w struct {
		MessageID   *string   `json:"message_id"`
		Droplet     *app.GUID `json:"droplet"`
		Version     *app.GUID `json:"version"`
		Instance    *app.GUID `json:"instance_guid"`
		Index       *uint32   `json:"instance_index"`
		IsDuplicate *bool     `json:"is_duplicate"`
	}
	if err := decode(data, &w); err != nil {
		return Stop{}, err
	}
	if w.MessageID == nil || !given(w.Droplet) || !given(w.Version) || !given(w.Instance) || w.Index == nil || *w.Index > actual.MaxIndex || w.IsDuplicate == nil {
		return Stop{}, fmt.Errorf("%w: hm9000.stop needs message_id, droplet, version, instance_guid, is_duplicate and an instance_index of at most %d", ErrMalformed, actual.MaxIndex)
	}
	return Stop{*w.MessageID, *w.Droplet, *w.Version, *w.Instance, *w.Index, *w.IsDuplicate}, nil
}

func given(g *app.GUID) bool { return g != nil && !g.IsZero() }

func decode(data []byte, v any) error {
	if len(data) > maxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(data), maxMessage)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
