package bus

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redact gives an error's text without the link's secrets, in case a library quotes one.
func (l *Link) redact(err error) string {
	text := err.Error()
	secrets := []string{l.opts.Password, l.opts.Token}
	for _, s := range l.servers {
		secrets = append(secrets, s.password)
	}
	for _, s := range secrets {
		if s == "" {
			continue
		}
		text = hideWhole(text, s)
		for _, encoded := range []string{url.QueryEscape(s), url.PathEscape(s),
			strings.TrimPrefix(url.UserPassword("", s).String(), ":")} {
			if encoded != s {
				text = hideWhole(text, encoded)
			}
		}
	}
	return strings.ReplaceAll(text, "\n", ": ")
}

// hideWhole hides a secret where it is a whole value. If the password is part of a word by chance, as hm is of
// hm9000.start, hiding it there would make the message unclear, and show what the password is.
func hideWhole(text, secret string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, secret)
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		before, after := text[:at], text[at+len(secret):]
		out.WriteString(before)
		if joined(out.String(), secret) || joined(secret, after) {
			first, size := utf8.DecodeRuneInString(secret)
			out.WriteString(string(first))
			text = text[at+size:]
			continue
		}
		out.WriteString("xxxxx")
		text = after
	}
}

// joined reports whether a word continues from the end of a to the start of b. A dot inside a word belongs to it.
func joined(a, b string) bool {
	last, n := utf8.DecodeLastRuneInString(a)
	first, m := utf8.DecodeRuneInString(b)
	switch {
	case last == '.':
		last, _ = utf8.DecodeLastRuneInString(a[:len(a)-n])
	case first == '.':
		first, _ = utf8.DecodeRuneInString(b[m:])
	}
	return inWord(last) && inWord(first)
}

func inWord(r rune) bool {
	return r == '_' || r == '-' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
