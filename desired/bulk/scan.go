package bulk

import (
	"fmt"
	"io"
	"unicode/utf8"

	"hm/internal/jsonlex"
)

// Limits of the JSON of one page.
const (
	maxString = 64 << 10 // bytes of a string that is decoded; skipped strings may be longer
	maxDepth  = 64       // levels of nesting
	maxToken  = 4 << 10  // bytes of a bulk token, which becomes part of a URL
)

// scanner reads strict JSON (RFC 8259) from a stream, value by value. It keeps no more than its buffer. encoding/json
// does not do: it accepts equal keys, allocates for every token, and is slower than a Cloud Controller sends.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int   // what is left of buf
	before   int64 // bytes of the stream before buf
	err      error // of the reader; sticky

	text []byte // buffer for a string that is not in buf as a whole

	recording bool // copy the bytes from buf[mark] on to record
	mark      int
	record    []byte
}

func newScanner(r io.Reader) *scanner { return &scanner{r: r, buf: make([]byte, 64<<10)} }

// reset makes s read another stream with the same buffers.
func (s *scanner) reset(r io.Reader) {
	*s = scanner{r: r, buf: s.buf, text: s.text[:0], record: s.record[:0]}
}

// syntaxError says what is wrong with the JSON, and where.
type syntaxError struct {
	offset int64
	what   string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.offset) }

func (s *scanner) offset() int64 { return s.before + int64(s.pos) }

func (s *scanner) fail(format string, args ...any) error {
	return &syntaxError{s.offset(), fmt.Sprintf(format, args...)}
}

// fill makes at least one byte available or returns an error: io.ErrUnexpectedEOF at the end.
func (s *scanner) fill() error {
	if s.pos < s.end {
		return nil
	}
	if s.err == nil && s.recording {
		if len(s.record)+s.end-s.mark > maxToken {
			return s.fail("bulk_token is longer than %d bytes", maxToken)
		}
		s.record = append(s.record, s.buf[s.mark:s.end]...)
		s.mark = 0
	}
	for range 100 {
		if s.err != nil {
			break
		}
		s.before += int64(s.end)
		s.pos, s.end = 0, 0
		s.end, s.err = s.r.Read(s.buf)
		if s.end > 0 {
			return nil
		}
	}
	switch s.err {
	case nil:
		s.err = io.ErrNoProgress
	case io.EOF:
		return io.ErrUnexpectedEOF
	}
	return s.err
}

// peek returns the next byte that is no white space, without taking it.
func (s *scanner) peek() (byte, error) {
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\n', '\r':
				s.pos++
			default:
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// take takes the byte c. It must be the next byte that is no white space.
func (s *scanner) take(c byte) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.fail("%q instead of %q", got, c)
	}
	s.pos++
	return nil
}

// next takes one byte, white space or not.
func (s *scanner) next() (byte, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	c := s.buf[s.pos]
	s.pos++
	return c, nil
}

// atEnd returns an error if anything but white space follows.
func (s *scanner) atEnd() error {
	c, err := s.peek()
	switch {
	case err == nil:
		return s.fail("%q follows the end of the JSON", c)
	case s.err == io.EOF: // an io.ErrUnexpectedEOF would mean that the body is shorter than announced
		return nil
	}
	return err
}

// object calls field for every key of an object. The scanner is before the value then, and field must take the value.
// The key is valid until that.
func (s *scanner) object(field func(key []byte) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '}' {
		s.pos++
		return nil
	}
	for {
		key, err := s.string(maxString)
		if err != nil {
			return err
		}
		// Searching for the colon may fill the buffer again, and key lies in the buffer.
		if s.pos == s.end || s.buf[s.pos] != ':' {
			s.text = append(s.text[:0], key...)
			key = s.text
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if err := field(key); err != nil {
			return err
		}
		if c, err = s.peek(); err != nil {
			return err
		}
		switch c {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return s.fail("%q instead of ',' or '}'", c)
		}
	}
}

// string takes a string and returns its value, which is valid until the next call. With max 0 it only checks the
// string, which may have any length.
func (s *scanner) string(max int) ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	// The usual case: no escape, and the whole string is in the buffer.
	if i := s.pos + jsonlex.Plain(s.buf[s.pos:s.end]); i < s.end && s.buf[i] == '"' {
		text := s.buf[s.pos:i]
		if max > 0 && len(text) > max {
			return nil, s.fail("a string longer than %d bytes", max)
		}
		s.pos = i + 1
		return text, nil
	}
	s.text = s.text[:0]
	for {
		if err := s.fill(); err != nil {
			return nil, err
		}
		i := s.pos + jsonlex.Plain(s.buf[s.pos:s.end])
		if max > 0 {
			s.text = append(s.text, s.buf[s.pos:i]...)
			if len(s.text) > max {
				return nil, s.fail("a string longer than %d bytes", max)
			}
		}
		s.pos = i
		if i == s.end {
			continue
		}
		switch c := s.buf[i]; c {
		case '"':
			s.pos++
			return s.text, nil
		case '\\':
			s.pos++
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			return nil, s.fail("control character %#02x in a string", c)
		}
	}
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape takes the rest of an escape sequence and appends its character to s.text. A surrogate pair becomes two
// replacement characters: no value that hm reads has characters beyond ASCII.
func (s *scanner) escape() error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if e := escapes[c]; e != 0 {
		s.text = append(s.text, e)
		return nil
	}
	if c != 'u' {
		s.pos--
		return s.fail("unknown escape \\%c", c)
	}
	r := rune(0)
	for range 4 {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			s.pos--
			return s.fail("%q instead of a hex digit", c)
		}
	}
	s.text = utf8.AppendRune(s.text, r)
	return nil
}

// number takes a number and returns its text, which is valid until the next call.
func (s *scanner) number() ([]byte, error) {
	s.text = s.text[:0]
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	// The usual case: the whole number, and the byte behind it, are in the buffer.
	if n := jsonlex.Number(s.buf[s.pos:s.end]); n > 0 && s.pos+n < s.end && n <= 400 {
		text := s.buf[s.pos : s.pos+n]
		s.pos += n
		return text, nil
	}
	if c == '-' {
		s.accept(c)
	}
	if c, _ = s.look(); c == '0' {
		s.accept(c)
	} else if !s.digits() {
		return nil, s.failHere("no number")
	}
	if c, _ = s.look(); c == '.' {
		s.accept(c)
		if !s.digits() {
			return nil, s.failHere("no digit after the point")
		}
	}
	if c, _ = s.look(); c == 'e' || c == 'E' {
		s.accept(c)
		if c, _ = s.look(); c == '+' || c == '-' {
			s.accept(c)
		}
		if !s.digits() {
			return nil, s.failHere("no digit in the exponent")
		}
	}
	if len(s.text) > 400 {
		return nil, s.fail("a number of more than 400 characters")
	}
	return s.text, nil
}

// look returns the next byte without taking it. ok is false if there is none.
func (s *scanner) look() (c byte, ok bool) {
	if s.fill() != nil {
		return 0, false
	}
	return s.buf[s.pos], true
}

func (s *scanner) accept(c byte) {
	s.pos++
	if len(s.text) <= 400 {
		s.text = append(s.text, c)
	}
}

func (s *scanner) digits() bool {
	any := false
	for {
		c, ok := s.look()
		if !ok || c < '0' || c > '9' {
			return any
		}
		s.accept(c)
		any = true
	}
}

// failHere is fail, but returns the reader's error if that ended the value.
func (s *scanner) failHere(what string) error {
	if err := s.fill(); err != nil {
		return err
	}
	return s.fail("%s, but %q,", what, s.buf[s.pos])
}

// skip takes any value.
func (s *scanner) skip(depth int) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return s.fail("more than %d levels of nesting", maxDepth)
	}
	switch {
	case c == '"':
		_, err = s.string(0)
	case c == '{':
		err = s.object(func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		err = s.array(depth)
	case c == 't':
		err = s.literal("true")
	case c == 'f':
		err = s.literal("false")
	case c == 'n':
		err = s.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err = s.number()
	default:
		err = s.fail("%q instead of a value", c)
	}
	return err
}

func (s *scanner) array(depth int) error {
	if err := s.take('['); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		if c, err = s.peek(); err != nil {
			return err
		}
		s.pos++
		switch c {
		case ',':
		case ']':
			return nil
		default:
			s.pos--
			return s.fail("%q instead of ',' or ']'", c)
		}
	}
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c != word[i] {
			s.pos--
			return s.fail("%q in the middle of %q", c, word)
		}
	}
	return nil
}

// raw takes any value of at most maxToken bytes and returns its text, which is valid until the next call of raw.
func (s *scanner) raw() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	s.recording, s.mark, s.record = true, s.pos, s.record[:0]
	err := s.skip(0)
	if err == nil {
		s.record = append(s.record, s.buf[s.mark:s.pos]...)
	}
	s.recording = false
	if err == nil && len(s.record) > maxToken {
		err = s.fail("bulk_token is longer than %d bytes", maxToken)
	}
	return s.record, err
}
