// Package app holds what every other package names things by: the guids of droplets, versions and instances, the key of
// an app (its droplet and version), and hm time. It has no policy and does no I/O.
package app

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"unique"
)

// MaxGUIDLen is the longest guid accepted from outside, in bytes. Cloud Controllers and DEAs write 32 or 36.
const MaxGUIDLen = 128

// GUID is a droplet, version or instance guid. It is comparable, so it serves as a map key, and takes 24 bytes: the two
// forms that Cloud Foundry writes (a hyphenated UUID, and 32 hex digits) are held in binary, and any other text is
// interned. The zero GUID means "none". Equal texts give equal GUIDs. In the two binary forms the case of letters does
// not count: String gives small letters, and LetterCase says how the guid was written.
type GUID struct {
	b    [16]byte
	form unique.Handle[string] // zero: b is a UUID; hex32: b is 32 hex digits; anything else: the text itself
}

var (
	hex32    = unique.Make("\x00hex32")
	noHandle unique.Handle[string]
)

// ErrGUID is wrapped by every error that ParseGUID returns.
var ErrGUID = errors.New("not a guid")

// ParseGUID reads a guid: 1 to MaxGUIDLen printable ASCII characters without spaces. The case of letters does not count
// in the two binary forms; in any other text it does. An error wraps ErrGUID.
func ParseGUID(s string) (GUID, error) { return parse(s, &nibble) }

// ParseGUIDBytes is ParseGUID without an allocation for the two binary forms. It keeps no reference to s.
func ParseGUIDBytes(s []byte) (GUID, error) { return parse(s, &nibble) }

func parse[T string | []byte](s T, digits *[256]byte) (GUID, error) {
	var g GUID
	switch len(s) {
	case 36:
		if parseUUID(&g.b, s, digits) && g.b != [16]byte{} {
			return g, nil
		}
	case 32:
		if parseHex(g.b[:], s, 0, digits) {
			g.form = hex32
			return g, nil
		}
	}
	if len(s) == 0 {
		return GUID{}, fmt.Errorf("%w: it is empty", ErrGUID)
	}
	if len(s) > MaxGUIDLen {
		return GUID{}, fmt.Errorf("%w: %d bytes long, at most %d are allowed", ErrGUID, len(s), MaxGUIDLen)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return GUID{}, fmt.Errorf("%w: byte %d is %#02x, only printable ASCII without spaces is allowed", ErrGUID, i, s[i])
		}
	}
	return GUID{form: unique.Make(string(s))}, nil
}

// MustGUID is ParseGUID for a text that is known to be a guid, as in tests. It panics if it is not.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(fmt.Sprintf("app.MustGUID(%q): %v", s, err))
	}
	return g
}

func parseUUID[T string | []byte](b *[16]byte, s T, digits *[256]byte) bool {
	return s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' && parseHex(b[0:4], s, 0, digits) &&
		parseHex(b[4:6], s, 9, digits) && parseHex(b[6:8], s, 14, digits) && parseHex(b[8:10], s, 19, digits) && parseHex(b[10:16], s, 24, digits)
}

// parseHex fills dst from the hex digits of s that start at from. digits gives the value of each byte as a digit.
func parseHex[T string | []byte](dst []byte, s T, from int, digits *[256]byte) bool {
	for i := range dst {
		hi, lo := digits[s[from+2*i]], digits[s[from+2*i+1]]
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

var (
	nibble      = digitsOf(hexDigits + "ABCDEF")
	smallNibble = digitsOf(hexDigits)
)

// digitsOf gives the value of each byte as a hex digit, 0xff for a byte that is not one of digits.
func digitsOf(digits string) (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte(digits) {
		t[c] = byte(i)
		if i > 15 {
			t[c] = byte(i - 6)
		}
	}
	return t
}

const hexDigits = "0123456789abcdef"

// IsZero reports whether g names nothing.
func (g GUID) IsZero() bool { return g == GUID{} }

// Binary returns the sixteen bytes of a guid in one of the two binary forms, and the form: 'u' for a UUID, 'h' for 32
// hex digits. For any other guid, and for the zero GUID, form is 0. FromBinary is its inverse; packed tables use
// both.
func (g GUID) Binary() (b [16]byte, form byte) {
	switch {
	case g.form == hex32:
		return g.b, 'h'
	case g.form == noHandle && g.b != [16]byte{}:
		return g.b, 'u'
	}
	return b, 0
}

// FromBinary makes a guid of what Binary returned. form must be 'u' or 'h'; with 'u', b must not be all zero.
func FromBinary(b [16]byte, form byte) GUID {
	if form == 'h' {
		return GUID{b: b, form: hex32}
	}
	return GUID{b: b}
}

// AppendTo appends the text of g to dst. The zero GUID has no text.
func (g GUID) AppendTo(dst []byte) []byte {
	b, form := g.Binary()
	switch form {
	case 'h':
		return appendHex(dst, b[:])
	case 'u':
		dst = appendHex(dst, b[0:4])
		dst = appendHex(append(dst, '-'), b[4:6])
		dst = appendHex(append(dst, '-'), b[6:8])
		dst = appendHex(append(dst, '-'), b[8:10])
		return appendHex(append(dst, '-'), b[10:16])
	}
	if g.IsZero() {
		return dst
	}
	return append(dst, g.form.Value()...)
}

func appendHex(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// String returns the text of g, which is empty for the zero GUID.
func (g GUID) String() string {
	if g.form != noHandle && g.form != hex32 {
		return g.form.Value()
	}
	var buf [36]byte
	return string(g.AppendTo(buf[:0]))
}

// Compare orders guids by their text.
func (g GUID) Compare(o GUID) int {
	if g.form == o.form && (g.form == noHandle || g.form == hex32) { // hex digits of one shape sort as their bytes do
		if n := cmp.Compare(binary.BigEndian.Uint64(g.b[:8]), binary.BigEndian.Uint64(o.b[:8])); n != 0 {
			return n
		}
		return cmp.Compare(binary.BigEndian.Uint64(g.b[8:]), binary.BigEndian.Uint64(o.b[8:]))
	}
	return g.compareTexts(o)
}

// Order returns a number that orders guids as Compare does, as far as it tells them apart: the first eight bytes of the
// text. It is equal for guids that Compare says are equal, and may be equal for others.
func (g GUID) Order() uint64 {
	var text [8]byte
	if g.form == noHandle && g.b != [16]byte{} || g.form == hex32 {
		for i, c := range g.b[:4] { // no hyphen is among the first eight
			text[2*i], text[2*i+1] = hexDigits[c>>4], hexDigits[c&15]
		}
	} else if g.form != noHandle {
		copy(text[:], g.form.Value())
	}
	return binary.BigEndian.Uint64(text[:])
}

func (g GUID) compareTexts(o GUID) int {
	var x, y [MaxGUIDLen]byte
	return bytes.Compare(g.AppendTo(x[:0]), o.AppendTo(y[:0]))
}

// MarshalText gives the text of g.
func (g GUID) MarshalText() ([]byte, error) { return g.AppendTo(nil), nil }

// UnmarshalText reads a guid; an empty text gives the zero GUID.
func (g *GUID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*g = GUID{}
		return nil
	}
	v, err := ParseGUIDBytes(text)
	if err != nil {
		return err
	}
	*g = v
	return nil
}

// AppendWire appends the form of g that entries and snapshots carry: 'u' or 'h' and 16 bytes; or 't', a length byte and
// the text; or a single 0 for the zero GUID.
func (g GUID) AppendWire(dst []byte) []byte {
	switch {
	case g.form == hex32:
		return append(append(dst, 'h'), g.b[:]...)
	case g.form == noHandle && g.b != [16]byte{}:
		return append(append(dst, 'u'), g.b[:]...)
	case g.form == noHandle:
		return append(dst, 0)
	}
	s := g.form.Value()
	return append(append(dst, 't', byte(len(s))), s...)
}

// CutWire reads one guid that AppendWire wrote, and returns the bytes after it. A text stays as it is: earlier versions
// of hm recorded a UUID in capital letters as a text, and every node must read it as the same guid.
func CutWire(src []byte) (GUID, []byte, error) {
	if len(src) == 0 {
		return GUID{}, nil, fmt.Errorf("%w: the wire form ends early", ErrGUID)
	}
	form, rest := src[0], src[1:]
	switch form {
	case 0:
		return GUID{}, rest, nil
	case 'u', 'h':
		if len(rest) < 16 {
			return GUID{}, nil, fmt.Errorf("%w: the wire form ends early", ErrGUID)
		}
		g := FromBinary([16]byte(rest), form)
		if g.IsZero() {
			return GUID{}, nil, fmt.Errorf("%w: all-zero binary form", ErrGUID)
		}
		return g, rest[16:], nil
	case 't':
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return GUID{}, nil, fmt.Errorf("%w: the wire form ends early", ErrGUID)
		}
		n := 1 + int(rest[0])
		g, err := parse(rest[1:n], &smallNibble)
		return g, rest[n:], err
	}
	return GUID{}, nil, fmt.Errorf("%w: unknown wire form %#02x", ErrGUID, form)
}

// Key identifies an app. Instances of a version that is not the desired one belong to another Key (D12).
type Key struct{ Droplet, Version GUID }

// Compare orders keys by droplet, then version.
func (k Key) Compare(o Key) int {
	if n := k.Droplet.Compare(o.Droplet); n != 0 {
		return n
	}
	return k.Version.Compare(o.Version)
}

// String gives "droplet,version", for logs.
func (k Key) String() string { return k.Droplet.String() + "," + k.Version.String() }
