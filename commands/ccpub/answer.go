package ccpub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hm/commands"
)

const maxQuoted = 160 // bytes of an answer in an error

// answer is what a server answered.
type answer struct {
	status   int
	location string // of a redirect: scheme and host
	isOwn    bool   // it has the Cloud Controller's error object
	code     int    // of that object
	text     string // its description, or how the body begins; on one line, in ASCII
}

// readAnswer takes the parts of an answer that count. body may be cut.
func readAnswer(status int, location string, body []byte) answer {
	a := answer{status: status}
	if u, err := url.Parse(location); err == nil && status/100 == 3 && u.Host != "" {
		a.location = clip(u.Scheme + "://" + u.Host)
	}
	if a.code, a.text, a.isOwn = readError(body); !a.isOwn {
		a.text = clip(string(body))
	}
	return a
}

// readError reads the Cloud Controller's error object: {"code": number, "description": text, ...}.
func readError(body []byte) (code int, description string, ok bool) {
	var e struct {
		Code        *int   `json:"code"`
		Description string `json:"description"`
	}
	if json.Unmarshal(body, &e) != nil || e.Code == nil {
		return 0, "", false
	}
	return *e.Code, clip(e.Description), true
}

// clip gives the start of a text that somebody else wrote, on one line and without control characters.
func clip(text string) string {
	cut := len(text) > maxQuoted
	if cut {
		text = text[:maxQuoted]
	}
	quoted := strconv.QuoteToASCII(strings.Join(strings.Fields(text), " "))
	if text = quoted[1 : len(quoted)-1]; cut {
		text += "..."
	}
	return text
}

func (a answer) String() string {
	text := strconv.Itoa(a.status)
	if words := http.StatusText(a.status); words != "" {
		text += " " + words
	}
	if a.text != "" {
		text += ": " + a.text
	}
	if a.isOwn {
		text += fmt.Sprintf(" (code %d)", a.code)
	}
	return text
}

// verdict is what an answer to a command means.
type verdict struct {
	err        error // nil: accepted
	unknownApp bool  // a stop, and the Cloud Controller does not know the app: over NATS it would stop the instance
	byGateway  bool  // not the Cloud Controller answered, but what stands in front of it
}

// judge gives what an answer to a command means (N25). What is certain is that an answer from 400 to 499 comes before
// any effect, and that one of 503 with the Cloud Controller's own error object does as well: no DEA has room.
func judge(action commands.Action, a answer) verdict {
	give := func(is error, format string, args ...any) verdict {
		return verdict{err: failure{is, "the Cloud Controller answers " + a.String() + fmt.Sprintf(format, args...)}}
	}
	switch {
	case a.status == http.StatusOK:
		return verdict{}
	case a.status/100 == 2:
		return give(ErrUnknown, "; it should answer 200")
	case a.status/100 == 3:
		return give(ErrRefused, "; hm follows no redirect (to %s): correct commands.cc_url", a.location)
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return give(ErrRefused, "; check commands.cc_username and commands.cc_password")
	case a.status == http.StatusNotFound && action == commands.Stop:
		v := give(ErrNoEffect, "; the app is not known there")
		v.unknownApp = true
		return v
	case a.status == http.StatusNotFound && a.isOwn:
		return give(ErrNoEffect, "; the app is deleted, or its package is missing")
	case a.status == http.StatusNotFound:
		return give(ErrRefused, "; check that commands.cc_url names a Cloud Controller that takes commands over HTTP")
	case a.status/100 == 4:
		return give(ErrNoEffect, "")
	case a.status == http.StatusServiceUnavailable && a.isOwn:
		return give(ErrNoEffect, "; no DEA has room")
	case isGateway(a):
		v := give(ErrUnknown, "; a proxy in front of it says so")
		v.byGateway = true
		return v
	}
	return give(ErrUnknown, "")
}

// isGateway reports whether a proxy answered because it got no answer of the Cloud Controller.
func isGateway(a answer) bool {
	switch a.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return !a.isOwn
	}
	return false
}
