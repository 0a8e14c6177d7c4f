package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// writeYAML writes a JSON value as YAML: the same keys in the same order.
func writeYAML(w io.Writer, raw []byte) error {
	out := bufio.NewWriter(w)
	if err := (&yamlWriter{w: out}).document(raw); err != nil {
		return err
	}
	return out.Flush()
}

// yamlWriter writes JSON values as YAML in block style. It is not a general one: keys are texts, and nothing refers to
// anything else.
type yamlWriter struct {
	w *bufio.Writer
	d *json.Decoder
}

// document writes a value.
func (y *yamlWriter) document(raw []byte) error { return y.begin(raw, 0) }

// item writes a value as an item of a sequence.
func (y *yamlWriter) item(raw []byte) error {
	y.w.WriteString("- ") // errors stay with w
	return y.begin(raw, yamlIndent)
}

func (y *yamlWriter) begin(raw []byte, indent int) error {
	y.d = json.NewDecoder(bytes.NewReader(raw))
	y.d.UseNumber()
	if err := y.value(indent, true); err != nil {
		return fmt.Errorf("turning the answer into YAML: %w", err)
	}
	return y.w.WriteByte('\n')
}

const yamlIndent = 2

// value writes the next value. begun says that its first line has begun: what is before it is a dash, or nothing.
func (y *yamlWriter) value(indent int, begun bool) error {
	token, err := y.d.Token()
	if err != nil {
		return err
	}
	if !begun && (token != json.Delim('{') && token != json.Delim('[') || !y.d.More()) {
		y.w.WriteByte(' ')
	}
	switch token := token.(type) {
	case json.Delim:
		if !y.d.More() {
			y.w.WriteString(map[json.Delim]string{'{': "{}", '[': "[]"}[token])
		}
		for first := begun; y.d.More(); first = false {
			if !first {
				y.w.WriteString("\n" + strings.Repeat(" ", indent))
			}
			if err := y.entry(token == '{', indent+yamlIndent); err != nil {
				return err
			}
		}
		_, err = y.d.Token() // the end of it
		return err
	case string:
		y.text(token)
	case json.Number:
		y.w.WriteString(token.String())
	case bool:
		y.w.WriteString(strconv.FormatBool(token))
	default:
		y.w.WriteString("null")
	}
	return nil
}

// entry writes a key and its value, or an item of a sequence.
func (y *yamlWriter) entry(key bool, indent int) error {
	if !key {
		y.w.WriteString("- ")
		return y.value(indent, true)
	}
	token, err := y.d.Token()
	if err != nil {
		return err
	}
	y.text(token.(string)) // the decoder accepts no other key
	y.w.WriteByte(':')
	return y.value(indent, false)
}

// text writes a text: as it is if every reader of YAML takes it for this text, or else in quotes.
func (y *yamlWriter) text(s string) {
	if plainText(s) {
		y.w.WriteString(s)
		return
	}
	y.w.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			y.w.WriteByte('\\')
			y.w.WriteRune(r)
		case r == '\n':
			y.w.WriteString(`\n`)
		case r < ' ', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff, r == utf8.RuneError, r >= 0xfffe && r <= 0xffff:
			fmt.Fprintf(y.w, `\u%04x`, r)
		default:
			y.w.WriteRune(r)
		}
	}
	y.w.WriteByte('"')
}

// A text is plain if it is a guid, or begins with a letter and goes on with what has no meaning in YAML, and is no word
// that has one.
var (
	guidShape = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	meaning   = map[string]bool{"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true}
)

func plainText(s string) bool {
	if s == "" || !isLetter(s[0]) && !guidShape.MatchString(s) || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune(" -_./()+=;", rune(c)) && (c != ',' || i == 0) {
			return false
		}
	}
	return len(s) > len("false") || !meaning[strings.ToLower(s)]
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
