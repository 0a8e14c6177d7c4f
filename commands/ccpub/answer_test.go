package ccpub

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"hm/commands"
)

// TestN25Answers: what each answer of a Cloud Controller, or of a proxy in front of it, means for a command.
func TestN25Answers(t *testing.T) {
	const own = `{"code":100004,"description":"The app could not be found: a","error_code":"CF-AppNotFound"}`
	const page = "<html>\n<body>no\x1b[31m</body>"
	for _, c := range []struct {
		action      commands.Action
		status      int
		body        string
		want        error
		text        string // part of the error
		unknownApp  bool
		fromGateway bool
	}{
		{commands.Start, 200, "{}", nil, "", false, false},
		{commands.Stop, 200, page, nil, "", false, false},
		{commands.Start, 202, "", ErrUnknown, "202 Accepted; it should answer 200", false, false},
		{commands.Start, 302, "", ErrRefused, "(to https://elsewhere): correct commands.cc_url", false, false},
		{commands.Start, 304, "", ErrRefused, "correct commands.cc_url", false, false},
		{commands.Start, 400, own, ErrNoEffect, "400 Bad Request: The app", false, false},
		{commands.Start, 401, `{"code":10002,"description":"Authentication error"}`, ErrRefused, "Authentication error (code 10002); check commands.cc_username", false, false},
		{commands.Stop, 403, page, ErrRefused, "check commands.cc_username", false, false},
		{commands.Start, 404, own, ErrNoEffect, "the app is deleted, or its package is missing", false, false},
		{commands.Start, 404, page, ErrRefused, "check that commands.cc_url", false, false},
		{commands.Stop, 404, own, ErrNoEffect, "not known there", true, false},
		{commands.Stop, 404, page, ErrNoEffect, "not known there", true, false},
		{commands.Start, 429, "", ErrNoEffect, "429 Too Many Requests", false, false},
		{commands.Start, 500, own, ErrUnknown, "500 Internal Server Error", false, false},
		{commands.Start, 502, page, ErrUnknown, "502 Bad Gateway: <html> <body>no\\x1b[31m</body>; a proxy", false, true},
		{commands.Start, 503, page, ErrUnknown, "a proxy", false, true},
		{commands.Start, 503, `{"code":170002,"description":"InsufficientRunningResourcesAvailable"}`, ErrNoEffect, "no DEA has room", false, false},
		{commands.Stop, 504, "", ErrUnknown, "504 Gateway Timeout; a proxy", false, true},
		{commands.Start, 999, "", ErrUnknown, "answers 999", false, false},
	} {
		v := judge(c.action, readAnswer(c.status, "https://elsewhere/path", []byte(c.body)))
		if !errors.Is(v.err, c.want) || (v.err == nil) != (c.want == nil) {
			t.Errorf("%s, %d %.20q: %v, want %v", c.action, c.status, c.body, v.err, c.want)
		}
		if v.err != nil && !strings.Contains(v.err.Error(), c.text) {
			t.Errorf("%s, %d %.20q: %q lacks %q", c.action, c.status, c.body, v.err, c.text)
		}
		if v.unknownApp != c.unknownApp || v.byGateway != c.fromGateway {
			t.Errorf("%s, %d %.20q: unknown app %v, by a gateway %v", c.action, c.status, c.body, v.unknownApp, v.byGateway)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(404, "https://cc/x", []byte(`{"code":100004,"description":"The app could not be found"}`))
	f.Add(302, "http://u:p@h/%zz", []byte("<html>"))
	f.Add(503, "", []byte(`{"code":"1"}`))
	f.Add(200, "\x00", []byte{0xff, 0xfe})
	f.Fuzz(func(t *testing.T, status int, location string, body []byte) {
		for _, action := range []commands.Action{commands.Start, commands.Stop} {
			v := judge(action, readAnswer(status, location, body))
			if (v.err == nil) != (status == 200) {
				t.Fatalf("%d %q: %v", status, body, v.err)
			}
			if v.err == nil {
				continue
			}
			if text := v.err.Error(); len(text) > 3000 || strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }) {
				t.Fatalf("%d %q %q: the text has %d bytes: %q", status, location, body, len(text), text)
			}
		}
	})
}
