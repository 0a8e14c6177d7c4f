package app

import "math/bits"

// LetterCase says which hex digits of a guid were written as capital letters: bit i stands for digit i. It is zero
// for a guid in small letters, and for a guid that is kept as text. hm compares guids without it. It keeps it for
// receivers that compare letter by letter: every DEA, and a Cloud Controller on PostgreSQL.
type LetterCase uint32

// UpperCase writes every letter as a capital. It is for Spell only: it Fits no guid that has a digit from 0 to 9.
const UpperCase LetterCase = 1<<32 - 1

// LetterCaseOf gives the LetterCase of text, from which g was parsed.
func LetterCaseOf[T string | []byte](g GUID, text T) LetterCase {
	for i := range len(text) {
		if text[i]-'A' < 6 {
			return letterCaseOf(g, text)
		}
	}
	return 0
}

func letterCaseOf[T string | []byte](g GUID, text T) (c LetterCase) {
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

// Fits reports whether c can be the LetterCase of g: each of its bits stands for a letter.
func (c LetterCase) Fits(g GUID) bool { return c == 0 || LetterCaseOf(g, c.Spell(g)) == c }

// Spell gives the text of g, with the digits that c names as capital letters.
func (c LetterCase) Spell(g GUID) string {
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

// KeyLetterCase has the LetterCase of both guids of a Key.
type KeyLetterCase struct{ Droplet, Version LetterCase }

// Fits reports whether c can be the KeyLetterCase of k.
func (c KeyLetterCase) Fits(k Key) bool {
	return c.Droplet.Fits(k.Droplet) && c.Version.Fits(k.Version)
}

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
