package bulk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"hm/desired"
	"hm/internal/app"
)

// page is one answer of the bulk API without its rows (D03).
type page struct {
	rows  int
	token []byte // JSON as the server wrote it; nil if it is null or missing. Valid until the next page
}

// row is one entry of results. Either app is set, or err says why the entry is unreadable; then droplets are the apps
// that it may belong to.
type row struct {
	app      desired.App
	err      error
	droplets []app.GUID
}

// readPage decodes one answer: {"results": {guid: entry, ...}, "bulk_token": ...}. It calls emit for each row, and
// stops if emit fails. It refuses an answer without results, with two of them, or with anything after the JSON: an
// error must not look like an empty list of apps.
func readPage(s *scanner, emit func(row) error) (page, error) {
	var p page
	var seenResults, seenToken bool
	c, err := s.peek()
	if err != nil {
		return page{}, err
	}
	if c == '<' {
		return page{}, errHTML
	}
	err = s.object(func(key []byte) error {
		switch string(key) {
		case "results":
			if seenResults {
				return s.fail("a second member \"results\"")
			}
			seenResults = true
			c, err := s.peek()
			if err != nil {
				return err
			}
			if c != '{' {
				return s.fail("results is no object, but begins with %q,", c)
			}
			return s.object(func(key []byte) error {
				r, err := readRow(s, key)
				if err != nil {
					return err
				}
				p.rows++
				return emit(r)
			})
		case "bulk_token":
			if seenToken {
				return s.fail("a second member \"bulk_token\"")
			}
			seenToken = true
			token, err := s.raw()
			if err == nil && string(token) != "null" {
				p.token = token
			}
			return err
		}
		return s.skip(1)
	})
	if err == nil {
		err = s.atEnd()
	}
	if err == nil && !seenResults {
		err = errNoResults
	}
	if err != nil {
		return page{}, err
	}
	return p, nil
}

var (
	errHTML      = errors.New("the answer is HTML, not JSON")
	errNoResults = errors.New("the answer is JSON, but has no results")
	errNoGUID    = errors.New("a row has no valid guid: neither its key nor its id is one")
)

// The fields of a row, as bits.
const (
	fieldID = 1 << iota
	fieldVersion
	fieldInstances
	fieldState
	fieldPackage

	required = fieldVersion | fieldInstances | fieldState | fieldPackage
)

// readRow decodes one entry. It returns an error if the JSON is bad or the row has no guid. Any other unreadable row is
// returned with row.err (W49, W07).
func readRow(s *scanner, key []byte) (row, error) {
	keyGUID, keyErr := app.ParseGUIDBytes(key)
	var r row
	var id app.GUID
	keyLetterCase := app.LetterCaseOf(keyGUID, key) // before the scanner reuses the memory of key
	var seen int
	bad := func(err error) {
		if err != nil && r.err == nil {
			r.err = err
		}
	}
	c, err := s.peek()
	if err != nil {
		return row{}, err
	}
	if c != '{' {
		bad(fmt.Errorf("the row is no object, but begins with %q", c))
		if err := s.skip(1); err != nil {
			return row{}, err
		}
	} else if err := s.object(func(key []byte) error {
		field := 0
		switch string(key) {
		case "id":
			field = fieldID
		case "version":
			field = fieldVersion
		case "instances":
			field = fieldInstances
		case "state":
			field = fieldState
		case "package_state":
			field = fieldPackage
		default:
			return s.skip(2)
		}
		if seen&field != 0 {
			bad(fmt.Errorf("%s comes twice", fieldName(field)))
		}
		seen |= field
		return readField(s, field, &r.app, &id, bad)
	}); err != nil {
		return row{}, err
	}
	if r.err == nil && seen&required != required {
		r.err = missing(required &^ seen)
	}
	r.app.Key.Droplet = id
	if seen&fieldID == 0 {
		r.app.Key.Droplet, r.app.LetterCase.Droplet = keyGUID, keyLetterCase
		if keyErr != nil {
			bad(fmt.Errorf("id is missing, and the key is %w", keyErr))
		}
	}
	if r.err == nil {
		return r, nil
	}
	for _, g := range []app.GUID{id, keyGUID} {
		if !g.IsZero() && !slices.Contains(r.droplets, g) {
			r.droplets = append(r.droplets, g)
		}
	}
	if len(r.droplets) == 0 {
		return row{}, fmt.Errorf("%w (%w)", errNoGUID, r.err)
	}
	return r, nil
}

// readField decodes the value of a known field.
func readField(s *scanner, field int, a *desired.App, id *app.GUID, bad func(error)) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if field == fieldInstances {
		if c != '-' && (c < '0' || c > '9') {
			bad(fmt.Errorf("instances is no number, but begins with %q", c))
			return s.skip(2)
		}
		text, err := s.number()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(text), 10, 32)
		if err != nil || n > desired.MaxInstances {
			bad(fmt.Errorf("instances is %.40s, not a whole number from 0 to %d", text, desired.MaxInstances))
		}
		a.Instances = uint32(n)
		return nil
	}
	if c != '"' {
		bad(fmt.Errorf("%s is no text, but begins with %q", fieldName(field), c))
		return s.skip(2)
	}
	text, err := s.string(maxString)
	if err != nil {
		return err
	}
	switch field {
	case fieldID:
		*id, err = app.ParseGUIDBytes(text)
		a.LetterCase.Droplet = app.LetterCaseOf(*id, text)
	case fieldVersion:
		a.Key.Version, err = app.ParseGUIDBytes(text)
		a.LetterCase.Version = app.LetterCaseOf(a.Key.Version, text)
	case fieldState:
		a.State, err = desired.ParseRunState(text)
		bad(err) // it names the field
		return nil
	case fieldPackage:
		a.Package, err = desired.ParsePackageState(text)
		bad(err)
		return nil
	}
	if err != nil {
		bad(fmt.Errorf("%s: %w", fieldName(field), err))
	}
	return nil
}

func fieldName(field int) string {
	switch field {
	case fieldID:
		return "id"
	case fieldVersion:
		return "version"
	case fieldInstances:
		return "instances"
	case fieldState:
		return "state"
	}
	return "package_state"
}

// missing returns an error that names the first of the missing fields.
func missing(fields int) error {
	for field := fieldVersion; field <= fieldPackage; field <<= 1 {
		if fields&field != 0 {
			return fmt.Errorf("%s is missing", fieldName(field))
		}
	}
	return nil
}
