package wire

import (
	"encoding/hex"
	"math/rand/v2"

	"hm/internal/app"
)

// IDGenerator makes ids and random numbers from one seed. It is not safe for concurrent use: each owner has its own,
// under its own lock, so that one owner's use does not shift the other's sequence.
type IDGenerator struct{ *rand.Rand }

// NewIDGenerator gives a generator whose sequence depends on the seed and on the name of its owner.
func NewIDGenerator(seed uint64, owner string) IDGenerator {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	copy(key[8:], owner)
	return IDGenerator{rand.New(rand.NewChaCha8(key))}
}

func (g IDGenerator) bytes() (b [16]byte) {
	hi, lo := g.Uint64(), g.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	return b
}

// UUID makes an app guid or a version.
func (g IDGenerator) UUID() app.GUID {
	b := g.bytes()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return app.FromBinary(b, 'u')
}

// Instance makes an instance guid: 32 hex digits.
func (g IDGenerator) Instance() app.GUID { return app.FromBinary(g.bytes(), 'h') }

// DEA makes a DEA's id.
func (g IDGenerator) DEA() string {
	b := g.bytes()
	return "0-" + hex.EncodeToString(b[:])
}

// Chance reports whether an event of the given probability, 0 to 1, happens.
func (g IDGenerator) Chance(probability float64) bool {
	return probability > 0 && g.Float64() < probability
}
