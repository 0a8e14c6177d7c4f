package feed

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/minio/highwayhash"
	"github.com/zeebo/xxh3"

	"hm/actual"
)

// Digest stands for a payload: two payloads with one digest are taken for the same.
type Digest = actual.Digest

// Digester makes digests. Digests of different Digesters cannot be compared.
type Digester struct {
	key  [highwayhash.Size]byte
	fast bool
}

// NewDigester makes a Digester with a random key of its own. It computes HighwayHash-128, a keyed function made
// for input that an enemy chooses: who does not know the key, which never leaves the process, cannot make two
// payloads with one digest but by chance (2^-128 a pair), and so cannot pass off a changed heartbeat as unchanged.
func NewDigester() Digester {
	var d Digester
	rand.Read(d.key[:]) // never fails
	return d
}

// NewFastDigester makes a Digester that is several times faster and computes XXH3-128 under a random seed. That
// protects against accidents and not against an enemy: it is for input that only its owner can be cheated by,
// such as a recording that one replays.
func NewFastDigester() Digester {
	d := NewDigester()
	d.fast = true
	return d
}

// Sum gives the digest of data.
func (d Digester) Sum(data []byte) Digest {
	if d.fast {
		return xxh3.Hash128Seed(data, binary.LittleEndian.Uint64(d.key[:])).Bytes()
	}
	return highwayhash.Sum128(data, d.key[:])
}
