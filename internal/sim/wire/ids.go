package sim

import (
	"encoding/hex"
	"math/rand/v2"

	"hm/internal/app"
)

// mint makes identities and throws dice, all from one seed. It is not safe for concurrent use: each owner has its
// own, under its own lock, so that one owner's use does not shift the other's sequence.
type mint struct{ *rand.Rand }

func newMint(seed uint64, stream string) mint {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	copy(key[8:], stream)
	return mint{rand.New(rand.NewChaCha8(key))}
}

func (m mint) bytes() (b [16]byte) {
	hi, lo := m.Uint64(), m.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	return b
}

// uuid makes an app guid or a version.
func (m mint) uuid() app.GUID {
	b := m.bytes()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return app.FromBinary(b, 'u')
}

// instance makes an instance guid: 32 hex digits.
func (m mint) instance() app.GUID { return app.FromBinary(m.bytes(), 'h') }

// dea makes a DEA's id.
func (m mint) dea() string {
	b := m.bytes()
	return "0-" + hex.EncodeToString(b[:])
}

// hits reports whether an event of the given probability, 0 to 1, happens.
func (m mint) hits(probability float64) bool { return probability > 0 && m.Float64() < probability }
