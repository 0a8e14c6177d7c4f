package feed

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/minio/highwayhash"
	"github.com/zeebo/xxh3"

	"hm/actual"
)

// Digest identifies a payload: payloads with equal digests count as equal.
type Digest = actual.Digest

// Digester computes digests. Digests of different Digesters cannot be compared.
type Digester struct {
	key  DigesterKey
	fast bool
}

// DigesterKey is what makes the digests of one Digester differ from those of another. It is a secret of the cluster:
// see NewDigester.
type DigesterKey [highwayhash.Size]byte

// NewDigester makes a Digester with a random key. It computes HighwayHash-128, a keyed hash that is safe for hostile
// input. Only the other nodes of the cluster learn the key. Without it nobody can make two payloads with one digest,
// except by chance (2^-128 a pair), so nobody can make a changed heartbeat look unchanged.
func NewDigester() Digester {
	var d Digester
	rand.Read(d.key[:]) // never fails
	return d
}

// DigesterOf makes a Digester that computes the same digests as another node's, of which it has the key.
func DigesterOf(key DigesterKey) Digester { return Digester{key: key} }

// NewFastDigester makes a Digester that is several times faster. It computes XXH3-128 with a random seed, which is not
// safe for hostile input. Use it only where wrong input harms nobody but its owner, as in a replay.
func NewFastDigester() Digester {
	d := NewDigester()
	d.fast = true
	return d
}

// Sum returns the digest of data.
func (d Digester) Sum(data []byte) Digest {
	if d.fast {
		return xxh3.Hash128Seed(data, binary.LittleEndian.Uint64(d.key[:])).Bytes()
	}
	return highwayhash.Sum128(data, d.key[:])
}
