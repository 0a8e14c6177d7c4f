package configimport

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"hm/internal/config"
)

// object is a JSON object or a YAML mapping in the order of the file.
type object []entry

// entry is one key with its value: nil, bool, string, int64, float64, []any or object.
type entry struct {
	name  string
	value any
	line  int
}

// source is a predecessor's configuration. The keys of a section have the section's name before them: "ssl.ca_file".
type source struct {
	entries  object
	anyCase  bool // the predecessor does not tell upper from lower case in names
	problems config.Problems
}

// Limits of a source. Neither predecessor has a hundred keys, or nests deeper than two.
const (
	maxDepth  = 8
	maxValues = 2000
)

var (
	errTooLarge = errors.New("it is larger than the limit of 1 MiB")
	errTooDeep  = fmt.Errorf("it is nested deeper than %d", maxDepth)
	errTooMany  = fmt.Errorf("it has more than %d values", maxValues)
)

// budget counts the values of a source.
type budget struct{ values int }

// spend takes note of one value that may have depth levels below it.
func (b *budget) spend(depth int) error {
	b.values++
	switch {
	case b.values > maxValues:
		return errTooMany
	case depth == 0:
		return errTooDeep
	}
	return nil
}

// newSource takes the sections apart.
func newSource(top object, anyCase bool, sections ...string) *source {
	s := &source{anyCase: anyCase}
	for _, e := range top {
		i := slices.IndexFunc(sections, func(name string) bool { return s.canonical(name) == s.canonical(e.name) })
		below, isObject := e.value.(object)
		switch {
		case i < 0:
			s.add(e)
		case isObject:
			for _, b := range below {
				s.add(entry{name: sections[i] + "." + b.name, value: b.value, line: b.line})
			}
		case e.value != nil:
			s.problems = append(s.problems, config.Problem{
				Key: sections[i], Want: fmt.Sprintf("it must have keys of its own, not %s (line %d)", kindOf(e.value), e.line)})
		}
	}
	return s
}

func (s *source) add(e entry) {
	if old, twice := s.find(e.name); twice {
		s.problems = append(s.problems, config.Problem{Key: shortName(e.name),
			Want: fmt.Sprintf("it is there twice, in line %d and in line %d: leave one out", old.line, e.line)})
		return
	}
	s.entries = append(s.entries, e)
}

// canonical gives the form in which names are compared.
func (s *source) canonical(name string) string {
	if s.anyCase {
		return strings.ToLower(name)
	}
	return name
}

func (s *source) find(name string) (entry, bool) {
	i := slices.IndexFunc(s.entries, func(e entry) bool { return s.canonical(e.name) == s.canonical(name) })
	if i < 0 {
		return entry{}, false
	}
	return s.entries[i], true
}

// has reports whether a key is there with a value.
func (s *source) has(name string) bool {
	e, ok := s.find(name)
	return ok && e.value != nil
}

// problem adds a problem with a key of the source.
func (s *source) problem(name, value, format string, args ...any) {
	want := fmt.Sprintf(format, args...)
	if e, ok := s.find(name); ok {
		want += fmt.Sprintf(" (line %d)", e.line)
	}
	s.problems = append(s.problems, config.Problem{Key: name, Value: value, Want: want})
}

// value gives the value of a key, or false if it is absent. A value of another type is a problem.
func value[T any](s *source, name, want string) (T, bool) {
	var none T
	e, ok := s.find(name)
	if !ok || e.value == nil {
		return none, false
	}
	v, ok := e.value.(T)
	if !ok {
		s.problem(name, kindOf(e.value), "%s", want)
	}
	return v, ok
}

func (s *source) text(name string) (string, bool) { return value[string](s, name, "text in quotes") }

func (s *source) truth(name string) (v, ok bool) { return value[bool](s, name, "true or false") }

// whole gives a whole number between two limits. Another one is a problem.
func (s *source) whole(name string, least, most int) (int, bool) {
	e, ok := s.find(name)
	if !ok || e.value == nil {
		return 0, false
	}
	f, isNumber := number(e.value)
	if !isNumber || f != math.Trunc(f) || f < float64(least) || f > float64(most) {
		s.problem(name, shownNumber(e.value), "a whole number from %d to %d", least, most)
		return 0, false
	}
	return int(f), true
}

// number gives the value of a number.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// shownNumber shows what is in the place of a number.
func shownNumber(v any) string {
	if s := plainValue(v); s != "" {
		return s
	}
	return kindOf(v)
}

// plainValue shows a number or a truth value; a text may be a secret.
func plainValue(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return "a text"
	case []any:
		return "a list"
	case object:
		return "an object"
	default:
		return plainValue(v)
	}
}

// shortName shows a name from the source: on one line and not too long.
func shortName(name string) string {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "..."
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
