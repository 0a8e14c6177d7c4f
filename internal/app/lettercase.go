package app

import "math/bits"

// Capitals says which hex digits of a guid in a binary form are written as capitals: bit i is of digit i. It is zero
// for a guid in small letters, and for a guid of any other form. It is no part of what a guid is compared by. It is
// kept for those who do compare by the letter: a Cloud Controller on PostgreSQL, and every DEA.
type Capitals uint32

// AllCapitals spells every letter as a capital. It is for Spell only.
const AllCapitals Capitals = 1<<32 - 1

// CapitalsOf gives the Capitals of a text that g was parsed from.
func CapitalsOf[T string | []byte](g GUID, text T) Capitals {
	for i := range len(text) {
		if text[i]-'A' < 6 {
			return capitalsOf(g, text)
		}
	}
	return 0
}

func capitalsOf[T string | []byte](g GUID, text T) (c Capitals) {
	if _, form := g.Binary(); form == 0 {
		return 0
	}
	digit := 0
	for i := range len(text) {
		if text[i] == '-' {
			continue
		}
		if 'A' <= text[i] && text[i] <= 'F' {
			c |= 1 << (digit & 31)
		}
		digit++
	}
	return c
}

// Fits reports whether c can be the Capitals of g: it names letters only.
func (c Capitals) Fits(g GUID) bool { return c == 0 || CapitalsOf(g, c.Spell(g)) == c }

// Spell gives the text of g with the digits of c as capitals.
func (c Capitals) Spell(g GUID) string {
	if c == 0 {
		return g.String()
	}
	if _, form := g.Binary(); form == 0 {
		return g.String()
	}
	var buf [36]byte
	text := g.AppendTo(buf[:0])
	for left := uint32(c); left != 0; left &= left - 1 {
		i := bits.TrailingZeros32(left)
		if len(text) == 36 {
			i += hyphensBefore(i)
		}
		if 'a' <= text[i] && text[i] <= 'f' {
			text[i] -= 'a' - 'A'
		}
	}
	return string(text)
}

// KeyCapitals are the Capitals of a Key's two guids.
type KeyCapitals struct{ Droplet, Version Capitals }

// Fits reports whether c can be the KeyCapitals of k.
func (c KeyCapitals) Fits(k Key) bool { return c.Droplet.Fits(k.Droplet) && c.Version.Fits(k.Version) }

// hyphensBefore gives how many hyphens of a UUID are before its hex digit i.
func hyphensBefore(i int) int {
	switch {
	case i < 8:
		return 0
	case i < 20:
		return i/4 - 1
	}
	return 4
}
