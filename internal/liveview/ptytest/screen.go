package ptytest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Screen is what a user sees: it takes what a program writes to a terminal, and keeps the characters that are shown. It
// knows what the live view uses, and notes what it does not know. It is safe for concurrent use.
type Screen struct {
	mu            sync.Mutex
	width, height int
	cells         [][]string // of each line; the second cell of a wide character is empty
	x, y          int
	top, bottom   int // the lines that scroll
	last          string
	rest          string // the beginning of a sequence that is not complete yet
	unknown       map[string]bool
	bytes         int
	grown         chan struct{}
}

// NewScreen returns an empty screen.
func NewScreen(width, height int) *Screen {
	s := &Screen{unknown: map[string]bool{}, grown: make(chan struct{}, 1)}
	s.resize(width, height)
	return s
}

func (s *Screen) resize(width, height int) {
	s.width, s.height, s.top, s.bottom = width, height, 0, height-1
	s.cells = make([][]string, height)
	for y := range s.cells {
		s.clear(y, 0, width)
	}
}

// Resize makes the screen anew. What is shown is lost until the program draws it again.
func (s *Screen) Resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resize(width, height)
}

// Write takes what a program writes.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.bytes += len(p)
	s.rest = s.take(s.rest + string(p))
	s.mu.Unlock()
	select {
	case s.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Grown receives when something was written.
func (s *Screen) Grown() <-chan struct{} { return s.grown }

// Bytes returns how many bytes were written.
func (s *Screen) Bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// String returns what is shown, without the spaces at the ends of the lines.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, s.height)
	for y, cells := range s.cells {
		lines[y] = strings.TrimRight(strings.Join(cells, ""), " ")
	}
	return strings.Join(lines, "\n")
}

// Unknown returns the sequences that the screen ignored because it does not know them.
func (s *Screen) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for u := range s.unknown {
		all = append(all, u)
	}
	return all
}

// take interprets text, and returns the beginning of a sequence that is not complete.
func (s *Screen) take(text string) string {
	var state byte
	for len(text) > 0 {
		if !utf8.FullRuneInString(text) {
			return text
		}
		seq, width, n, next := ansi.DecodeSequence(text, state, nil)
		if text[0] == ansi.ESC && !complete(seq) && n == len(text) && len(text) < 4096 {
			return text
		}
		state, text = next, text[n:]
		switch {
		case width > 0:
			s.put(seq, width)
		case seq[0] == ansi.ESC:
			s.escape(seq)
		default:
			s.control(seq[0])
		}
	}
	return ""
}

// complete reports whether an escape sequence has its end.
func complete(seq string) bool {
	switch {
	case len(seq) < 2:
		return false
	case seq[1] == '[':
		last := seq[len(seq)-1]
		return len(seq) > 2 && last >= 0x40 && last <= 0x7e
	case strings.ContainsRune("]P_^X", rune(seq[1])):
		return strings.HasSuffix(seq, "\a") || strings.HasSuffix(seq, "\x1b\\")
	}
	return true
}

func (s *Screen) put(grapheme string, width int) {
	if s.x+width > s.width {
		s.x, s.y = 0, s.y+1
		s.scroll()
	}
	s.cells[s.y][s.x] = grapheme
	for i := 1; i < width; i++ {
		s.cells[s.y][s.x+i] = ""
	}
	s.x, s.last = s.x+width, grapheme
}

// scroll moves the lines up if the cursor is below them.
func (s *Screen) scroll() {
	if s.y > s.bottom {
		s.lines(s.top, 1)
		s.y = s.bottom
	}
}

// lines takes n lines out at y and adds as many at the bottom; with n < 0 the other way round.
func (s *Screen) lines(y, n int) {
	for range max(n, -n) {
		if n > 0 {
			copy(s.cells[y:s.bottom+1], s.cells[y+1:s.bottom+1])
			s.clearLine(s.bottom)
		} else {
			copy(s.cells[y+1:s.bottom+1], s.cells[y:s.bottom])
			s.clearLine(y)
		}
	}
}

func (s *Screen) clearLine(y int) { s.cells[y] = nil; s.clear(y, 0, s.width) }

func (s *Screen) clear(y, from, to int) {
	if s.cells[y] == nil {
		s.cells[y] = make([]string, s.width)
	}
	for x := max(from, 0); x < min(to, s.width); x++ {
		s.cells[y][x] = " "
	}
}

func (s *Screen) control(c byte) {
	switch c {
	case '\n':
		s.y++
		s.scroll()
	case '\r':
		s.x = 0
	case '\b':
		s.x = max(0, min(s.x, s.width-1)-1)
	case '\t':
		s.x = min(s.x/8*8+8, s.width-1)
	}
}

func (s *Screen) escape(seq string) {
	switch {
	case len(seq) > 1 && seq[1] == '[':
		s.csi(seq[2:])
	case seq == "\x1bM":
		if s.y--; s.y < s.top {
			s.y = s.top
			s.lines(s.top, -1)
		}
	case len(seq) > 1 && strings.ContainsRune("]P_^X78=>(", rune(seq[1])): // titles, questions, modes
	default:
		s.unknown[fmt.Sprintf("%q", seq)] = true
	}
}

func (s *Screen) csi(seq string) {
	final := seq[len(seq)-1]
	if strings.ContainsAny(seq[:1], "?>=<") || strings.ContainsAny(seq, " $") {
		return // modes and questions
	}
	var params []int
	for _, p := range strings.Split(seq[:len(seq)-1], ";") {
		n, _ := strconv.Atoi(p)
		params = append(params, n)
	}
	first := params[0]
	n := max(first, 1)
	second := 1
	if len(params) > 1 {
		second = max(params[1], 1)
	}
	at := min(s.x, s.width-1)
	switch final {
	case 'A':
		s.y = max(0, s.y-n)
	case 'B', 'e':
		s.y = min(s.height-1, s.y+n)
	case 'C', 'a':
		s.x = min(s.width-1, at+n)
	case 'D':
		s.x = max(0, at-n)
	case 'E':
		s.x, s.y = 0, min(s.height-1, s.y+n)
	case 'F':
		s.x, s.y = 0, max(0, s.y-n)
	case 'G', '`':
		s.x = min(s.width, n) - 1
	case 'd':
		s.y = min(s.height, n) - 1
	case 'H', 'f':
		s.y, s.x = min(s.height, n)-1, min(s.width, second)-1
	case 'I':
		for range n {
			s.control('\t')
		}
	case 'Z':
		for range n {
			s.x = max(0, (at-1)/8*8)
			at = s.x
		}
	case 'J':
		s.erase(first)
	case 'K':
		from, to := at, s.width
		if first == 1 {
			from, to = 0, at+1
		} else if first == 2 {
			from = 0
		}
		s.clear(s.y, from, to)
	case 'X':
		s.clear(s.y, at, at+n)
	case 'P':
		line := s.cells[s.y]
		n = min(n, s.width-at)
		copy(line[at:], line[at+n:])
		s.clear(s.y, s.width-n, s.width)
	case '@':
		line := s.cells[s.y]
		n = min(n, s.width-at)
		copy(line[at+n:], line[at:s.width-n])
		s.clear(s.y, at, at+n)
	case 'L':
		s.lines(s.y, -n)
	case 'M':
		s.lines(s.y, n)
	case 'S':
		s.lines(s.top, n)
	case 'T':
		s.lines(s.top, -n)
	case 'b':
		for range n {
			s.put(s.last, ansi.StringWidth(s.last))
		}
	case 'r':
		s.top, s.bottom = n-1, s.height-1
		if len(params) > 1 && params[1] > 0 {
			s.bottom = min(params[1], s.height) - 1
		}
		s.x, s.y = 0, 0
	case 'm', 'h', 'l', 'n', 'c', 't', 'q', 'u', 's':
	default:
		s.unknown["CSI "+seq] = true
	}
}

func (s *Screen) erase(what int) {
	from, to := s.y+1, s.height
	switch what {
	case 0:
		s.clear(s.y, min(s.x, s.width-1), s.width)
	case 1:
		from, to = 0, s.y
		s.clear(s.y, 0, s.x+1)
	default:
		from = 0
	}
	for y := from; y < to; y++ {
		s.clear(y, 0, s.width)
	}
}
