package words

import "strings"

// Tone says what a piece of text means to the reader. A medium shows it as a colour or a class. The words alone say the
// same.
type Tone string

// The tones.
const (
	Plain Tone = ""
	Good  Tone = "good"  // as it should be
	Warn  Tone = "warn"  // to be looked at
	Bad   Tone = "bad"   // wrong
	Faint Tone = "faint" // of little weight
)

// Paint shows text in a tone: in colours of a terminal, for instance. It is never called with Plain.
type Paint func(tone Tone, text string) string

// Piece is a stretch of text in one tone.
type Piece struct {
	Tone Tone
	Text string
}

// Text is a sentence or a part of one.
type Text []Piece

// Say returns a text of its parts: strings, a Piece each, or a Text each.
func Say(parts ...any) Text {
	var t Text
	add := func(p Piece) {
		if p.Text == "" {
			return
		}
		if n := len(t); n > 0 && t[n-1].Tone == p.Tone {
			t[n-1].Text += p.Text
			return
		}
		t = append(t, p)
	}
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			add(Piece{Text: part})
		case Piece:
			add(part)
		case Text:
			for _, p := range part {
				add(p)
			}
		}
	}
	return t
}

// String returns the text without tones.
func (t Text) String() string { return t.Paint(nil) }

// Paint returns the text with each tone painted. Without paint (nil) it is plain.
func (t Text) Paint(paint Paint) string {
	var b strings.Builder
	for _, p := range t {
		if paint != nil && p.Tone != Plain {
			b.WriteString(paint(p.Tone, p.Text))
		} else {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// Worst returns the gravest tone of the text: Bad before Warn before Good before Faint.
func (t Text) Worst() Tone {
	worst := Plain
	for _, tone := range []Tone{Faint, Good, Warn, Bad} {
		for _, p := range t {
			if p.Tone == tone {
				worst = tone
			}
		}
	}
	return worst
}

func good(text string) Piece { return Piece{Good, text} }
func warn(text string) Piece { return Piece{Warn, text} }
func bad(text string) Piece  { return Piece{Bad, text} }

// OneLine keeps what others wrote from breaking the line, or from changing the terminal.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
