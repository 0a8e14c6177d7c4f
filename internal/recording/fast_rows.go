package recording

import (
	"bytes"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/jsonlex"
)

// The first seconds of a recording are mostly the rows of a read of the desired state. Those that a Writer has written
// are read here and cut out of the line; parseLine reads the rest of it.

var (
	desiredApps  = []byte(`","type":"desired","apps":[`)
	rowStart     = []byte(`{"id":"`)
	rowVersion   = []byte(`,"version":"`)
	rowInstances = []byte(`,"instances":`)
	rowState     = []byte(`,"state":"`)
	rowPackage   = []byte(`,"package_state":"`)
)

// takeRows returns the rows of a desired line, and the line without them. ok is false if anything in the line is
// unusual or wrong.
func takeRows(text []byte) (rows []desired.App, without []byte, ok bool) {
	head := bytes.Index(text[:min(len(text), 80)], desiredApps)
	if head < len(timeStart) || !bytes.HasPrefix(text, timeStart) ||
		bytes.IndexByte(text[len(timeStart):head], '"') >= 0 {
		return nil, nil, false
	}
	from := head + len(desiredApps)
	rest := text[from:]
	rows = make([]desired.App, 0, bytes.Count(rest, rowStart))
	for {
		var a desired.App
		if rest, ok = takeRow(rest, &a); !ok || len(rest) == 0 {
			return nil, nil, false
		}
		rows = append(rows, a)
		if rest[0] == ',' {
			rest = rest[1:]
			continue
		}
		break
	}
	// A second member "apps", in any case or with escapes, would replace the first one.
	unusual := func(c rune) bool { return c == '\\' || c < ' ' || c > '~' }
	if rest[0] != ']' || bytes.ContainsFunc(rest, unusual) || bytes.Contains(bytes.ToLower(rest), []byte("apps")) {
		return nil, nil, false
	}
	return rows, append(text[:from:from], rest...), true
}

// takeRow reads one row and returns what follows it.
func takeRow(s []byte, a *desired.App) (rest []byte, ok bool) {
	if a.Key.Droplet, s, ok = takeGUID(s, rowStart); !ok {
		return nil, false
	}
	if a.Key.Version, s, ok = takeGUID(s, rowVersion); !ok {
		return nil, false
	}
	if s, ok = bytes.CutPrefix(s, rowInstances); !ok {
		return nil, false
	}
	digits := jsonlex.Digits(s)
	if digits > 7 {
		return nil, false
	}
	for _, c := range s[:digits] {
		a.Instances = a.Instances*10 + uint32(c-'0')
	}
	if digits == 0 || digits > 1 && s[0] == '0' || a.Instances > desired.MaxInstances {
		return nil, false
	}
	var word []byte
	var err error
	if word, s, ok = takeWord(s[digits:], rowState); !ok {
		return nil, false
	}
	if a.State, err = desired.ParseRunState(string(word)); err != nil {
		return nil, false
	}
	if word, s, ok = takeWord(s, rowPackage); !ok {
		return nil, false
	}
	if a.Package, err = desired.ParsePackageState(string(word)); err != nil {
		return nil, false
	}
	return bytes.CutPrefix(s, []byte{'}'})
}

func takeGUID(s, name []byte) (g app.GUID, rest []byte, ok bool) {
	text, rest, ok := takeWord(s, name)
	if !ok {
		return g, nil, false
	}
	g, err := app.ParseGUIDBytes(text)
	return g, rest, err == nil
}

// takeWord reads name and the text up to the next quote, which must have no escapes.
func takeWord(s, name []byte) (word, rest []byte, ok bool) {
	if s, ok = bytes.CutPrefix(s, name); !ok {
		return nil, nil, false
	}
	n := jsonlex.Plain(s[:min(len(s), app.MaxGUIDLen+1)])
	if n == len(s) || s[n] != '"' {
		return nil, nil, false
	}
	return s[:n], s[n+1:], true
}
