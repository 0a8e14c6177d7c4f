// Package jsonlex finds the ends of JSON tokens in memory. The hand-written readers of heartbeats, of the bulk API and of
// recordings share it; what they do with the tokens, with errors and with the end of the buffer differs.
package jsonlex

// IsSpace reports whether c is JSON white space.
func IsSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// Plain returns the number of bytes of a string at the start of d that stand for themselves: it stops at a quote, a
// backslash or a control character.
func Plain(d []byte) int {
	for i, c := range d {
		if c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(d)
}

// Digits returns the number of decimal digits at the start of d.
func Digits(d []byte) int {
	for i, c := range d {
		if c-'0' > 9 {
			return i
		}
	}
	return len(d)
}

// Number returns the length of the number at the start of d (RFC 8259), or 0 if there is none. A number that reaches the
// end of d may continue after it.
func Number(d []byte) int {
	i := 0
	if i < len(d) && d[i] == '-' {
		i++
	}
	switch n := Digits(d[i:]); {
	case n == 0, n > 1 && d[i] == '0':
		return 0
	default:
		i += n
	}
	if i < len(d) && d[i] == '.' {
		n := Digits(d[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(d) && d[i]|0x20 == 'e' {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		n := Digits(d[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}
