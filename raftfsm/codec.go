package raftfsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"hm/commands"
	"hm/internal/app"
)

const (
	guidWire = 17           // bytes of a guid with a binary form
	keyWire  = 2 * guidWire // bytes of a key of two such guids
)

// marshal encodes m the same way every time, so that equal states give equal snapshots.
func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// unmarshal refuses unknown fields: a node that ignored a field would record less than the others.
func unmarshal(b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return err
	}
	return known(m)
}

// known returns an error if m has fields that this version does not know.
func known[M proto.Message](m M) error {
	if r := m.ProtoReflect(); len(r.GetUnknown()) > 0 {
		return fmt.Errorf("%s has fields that this version does not know", r.Descriptor().Name())
	}
	return nil
}

func appendKey(dst []byte, k app.Key) []byte { return k.Version.AppendWire(k.Droplet.AppendWire(dst)) }

func appendKeys(dst []byte, keys []app.Key) []byte {
	for _, k := range keys {
		dst = appendKey(dst, k)
	}
	return dst
}

func appendGUIDs(dst []byte, guids []app.GUID) []byte {
	for _, g := range guids {
		dst = g.AppendWire(dst)
	}
	return dst
}

// column reads guids one after the other. It keeps the first error.
type column struct {
	b   []byte
	err error
}

func (c *column) more() bool { return c.err == nil && len(c.b) > 0 }

func (c *column) guid() app.GUID {
	if c.err != nil {
		return app.GUID{}
	}
	g, rest, err := app.CutWire(c.b)
	if err != nil {
		c.err = err
		return app.GUID{}
	}
	c.b = rest
	return g
}

func (c *column) key() app.Key { return app.Key{Droplet: c.guid(), Version: c.guid()} }

// end returns the first error of the column called name. Bytes that are left over are an error.
func (c *column) end(name string) error {
	switch {
	case c.err != nil:
		return fmt.Errorf("%s: %w", name, c.err)
	case len(c.b) > 0:
		return fmt.Errorf("%s: %d bytes too many", name, len(c.b))
	}
	return nil
}

// oneGUID reads a field that holds exactly one guid.
func oneGUID(b []byte, name string) (app.GUID, error) {
	c := column{b: b}
	g := c.guid()
	return g, c.end(name)
}

// oneKey reads a field that holds exactly one key.
func oneKey(b []byte, name string) (app.Key, error) {
	c := column{b: b}
	k := c.key()
	return k, c.end(name)
}

func oneID(b []byte) (id commands.ID, err error) {
	if len(b) != len(id) {
		return id, fmt.Errorf("a command id has %d bytes, it must have %d", len(b), len(id))
	}
	return commands.ID(b), nil
}

// small narrows a number that is recorded in one byte.
func small[T ~uint8](v uint32, name string) (T, error) {
	if v > 255 {
		return 0, fmt.Errorf("%s is %d, larger than 255", name, v)
	}
	return T(v), nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
