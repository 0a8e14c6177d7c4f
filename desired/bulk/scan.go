package bulk

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds on one page's JSON.
const (
	maxString = 64 << 10 // bytes in a string whose value matters; others may be longer
	maxDepth  = 64       // nesting
	maxToken  = 4 << 10  // bytes in a bulk token: it travels in a URL
)

// scanner reads strict JSON (RFC 8259) off a stream, value by value, and holds no more of it than its buffer. It
// is here because encoding/json would take the last of two equal keys, needs an allocation for every token, and
// reads a page slower than a Cloud Controller can send it.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int   // what is left of buf
	before   int64 // bytes of the stream that are no longer in buf
	err      error // of the reader; sticky

	text []byte // a string that did not lie in buf as it is

	recording bool // copy what passes, from buf[mark], into record
	mark      int
	record    []byte
}

func newScanner(r io.Reader) *scanner { return &scanner{r: r, buf: make([]byte, 64<<10)} }

// reset makes s read another stream with the same buffers.
func (s *scanner) reset(r io.Reader) {
	*s = scanner{r: r, buf: s.buf, text: s.text[:0], record: s.record[:0]}
}

// syntaxError is what is wrong with the JSON, and where.
type syntaxError struct {
	offset int64
	what   string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.offset) }

func (s *scanner) offset() int64 { return s.before + int64(s.pos) }

func (s *scanner) fail(format string, args ...any) error {
	return &syntaxError{s.offset(), fmt.Sprintf(format, args...)}
}

// fill makes at least one byte available, or returns why there is none: io.ErrUnexpectedEOF at the end.
func (s *scanner) fill() error {
	if s.pos < s.end {
		return nil
	}
	if s.err == nil && s.recording {
		if len(s.record)+s.end-s.mark > maxToken {
			return s.fail("a bulk_token longer than %d bytes", maxToken)
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

// peek gives the next byte that is no white space, without taking it.
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

// take takes the byte c, which must be the next one that is no white space.
func (s *scanner) take(c byte) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.fail("%q where %q must be", got, c)
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

// atEnd reports whether nothing but white space follows.
func (s *scanner) atEnd() error {
	c, err := s.peek()
	switch {
	case err == nil:
		return s.fail("%q follows the end of the JSON", c)
	case s.err == io.EOF: // and not an io.ErrUnexpectedEOF of the reader: a body shorter than announced
		return nil
	}
	return err
}

// object calls field for every key of an object, with the scanner before the value, which field must take. The
// key is valid until then.
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
		// To find the colon may take another filling of the buffer, in which key lies.
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
			return s.fail("%q where ',' or '}' must be", c)
		}
	}
}

// string takes a string and gives its value, which is valid until the scanner moves on. With max 0 it only
// checks the string, however long that is.
func (s *scanner) string(max int) ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	for i := s.pos; i < s.end; i++ { // the usual case: no escape, all of it in the buffer
		c := s.buf[i]
		if c == '"' {
			text := s.buf[s.pos:i]
			if max > 0 && len(text) > max {
				return nil, s.fail("a string longer than %d bytes", max)
			}
			s.pos = i + 1
			return text, nil
		}
		if c == '\\' || c < ' ' {
			break
		}
	}
	s.text = s.text[:0]
	for {
		if err := s.fill(); err != nil {
			return nil, err
		}
		i := s.pos
		for i < s.end && s.buf[i] != '"' && s.buf[i] != '\\' && s.buf[i] >= ' ' {
			i++
		}
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

// escape takes what follows a backslash and appends what it stands for to s.text. The halves of a surrogate pair
// become two replacement characters: nothing that hm reads has characters beyond ASCII.
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
			return s.fail("%q where a hex digit must be", c)
		}
	}
	s.text = utf8.AppendRune(s.text, r)
	return nil
}

// number takes a number and gives its text, which is valid until the scanner moves on.
func (s *scanner) number() ([]byte, error) {
	s.text = s.text[:0]
	c, err := s.peek()
	if err != nil {
		return nil, err
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

// look gives the next byte without taking it; ok is false if there is none.
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

// failHere is fail, or the reader's error if it is that which ended the value.
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
		err = s.fail("%q where a value must be", c)
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
			return s.fail("%q where ',' or ']' must be", c)
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
			return s.fail("%q where %q must be", c, word)
		}
	}
	return nil
}

// raw takes any value of at most maxToken bytes and gives its text, which is valid until raw is called again.
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
		err = s.fail("a bulk_token longer than %d bytes", maxToken)
	}
	return s.record, err
}
