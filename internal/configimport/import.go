// Package configimport makes a configuration of hm from the configuration of a health manager that hm replaces: HM9000's
// JSON and HealthManager 2.0's YAML. It is pure: bytes in, hm's keys and a report out. The report says what became of
// each key of the source. It never contains a secret; the configuration does, because hm must start with it.
package configimport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hm/internal/config"
)

// MaxSize bounds a configuration to import, in bytes.
const MaxSize = 1 << 20

// Import is a configuration of hm that was made from a predecessor's.
type Import struct {
	Config   config.Config   // the defaults, and what was carried over
	Lines    []Line          // what became of each key of the source, in the order of the source
	Absent   []Line          // keys that are not in the source, and that the predecessor treated otherwise than hm does
	Warnings []string        // what a person should look at
	Missing  config.Problems // why hm does not start with Config

	predecessor string
	settings    []setting
}

// setting is one key of hm, in the order in which the keys were found.
type setting struct {
	key   string
	value any    // what Key.Set takes
	from  string // the key of the source
}

// Outcome says what became of a key of the source.
type Outcome string

// The outcomes.
const (
	Carried Outcome = "carried" // hm has a key for it, and it is in the output
	Default Outcome = "default" // hm has a key for it, and the value is hm's default, so it is left out
	Dropped Outcome = "dropped" // hm needs nothing like it
	Unknown Outcome = "unknown" // the predecessor does not know it either
)

// Line says what became of one key of the source.
type Line struct {
	Source  string
	Value   string // only a number or a truth value: a text may be a secret
	Outcome Outcome
	Keys    []string // hm's, if any
	Note    string
}

// importing is an import in progress.
type importing struct {
	*source
	result Import
	lines  map[string]Line // by canonical name
}

func newImporting(predecessor string, s *source) *importing {
	return &importing{
		source: s,
		result: Import{Config: config.Default(), predecessor: predecessor},
		lines:  map[string]Line{},
	}
}

// set gives a key of hm the value that a key of the source asks for. A value that hm cannot take is a problem with the
// key of the source.
func (im *importing) set(key string, value any, from string) {
	s := setting{key: key, value: value, from: from}
	k, trial := s.hm(), config.Default()
	p := k.Set(&trial, value)
	if p == nil && !k.Accepts(&trial) {
		p = &config.Problem{Value: k.Text(&trial), Want: k.Want()}
	}
	if p != nil {
		im.problem(from, p.Value, "%s, for %s of hm", p.Want, key)
		return
	}
	k.Set(&im.result.Config, value)
	i := slices.IndexFunc(im.result.settings, func(old setting) bool { return old.key == key })
	if i >= 0 {
		im.result.settings[i] = s
		return
	}
	im.result.settings = append(im.result.settings, s)
}

// carried says that keys of hm were set from a key of the source.
func (im *importing) carried(name, note string, keys ...string) {
	im.lines[im.canonical(name)] = Line{Keys: keys, Note: note}
}

// dropped says why a key of the source has no place in hm.
func (im *importing) dropped(why string, names ...string) {
	for _, name := range names {
		im.lines[im.canonical(name)] = Line{Outcome: Dropped, Note: why}
	}
}

// absent says that a key is not in the source, and what follows from that.
func (im *importing) absent(name, note string, keys ...string) {
	im.result.Absent = append(im.result.Absent, Line{Source: name, Keys: keys, Note: note})
}

func (im *importing) warn(format string, args ...any) {
	im.result.Warnings = append(im.result.Warnings, fmt.Sprintf(format, args...))
}

// missing says that hm needs a key that the source does not have.
func (im *importing) missing(key, format string, args ...any) {
	im.result.Missing = append(im.result.Missing, config.Problem{Key: key, Want: fmt.Sprintf(format, args...)})
}

// finish gives the result, or every problem with the source at once.
func (im *importing) finish() (Import, error) {
	if len(im.problems) > 0 {
		return Import{}, im.problems
	}
	known := make([]string, 0, len(im.lines))
	for name := range im.lines {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, e := range im.entries {
		line, ok := im.lines[im.canonical(e.name)]
		line.Source, line.Value = shortName(e.name), plainValue(e.value)
		switch {
		case !ok:
			line.Outcome, line.Value = Unknown, ""
			line.Note = im.result.predecessor + " does not read it"
			if near, found := config.Nearest(e.name, known); found {
				line.Note += "; did you mean " + near + "?"
			}
			im.warn("%s: %s", line.Source, line.Note)
		case e.value == nil:
			line = Line{Source: line.Source, Outcome: Dropped, Note: "it has no value"}
		case line.Outcome == "":
			line.Outcome = im.result.outcome(line.Keys)
		}
		im.result.Lines = append(im.result.Lines, line)
	}
	for i, line := range im.result.Absent {
		im.result.Absent[i].Outcome = im.result.outcome(line.Keys)
	}
	var invalid config.Problems
	if errors.As(im.result.Config.Validate(), &invalid) {
		for _, p := range invalid {
			if !slices.ContainsFunc(im.result.Missing, func(q config.Problem) bool { return q.Key == p.Key }) {
				im.result.Missing = append(im.result.Missing, p)
			}
		}
	}
	im.result.Missing.Sort()
	return im.result, nil
}

// outcome says what became of a key of the source that stands for these keys of hm.
func (im Import) outcome(keys []string) Outcome {
	outcome := Default
	for _, key := range keys {
		i := slices.IndexFunc(im.settings, func(s setting) bool { return s.key == key })
		if i >= 0 && !im.settings[i].isDefault() {
			outcome = Carried
		}
	}
	return outcome
}

// hm gives hm's key. The names in this package are hm's.
func (s setting) hm() config.Key {
	k, known := config.KeyNamed(s.key)
	if !known {
		panic("configimport: hm has no key " + s.key)
	}
	return k
}

func (s setting) isDefault() bool {
	k, c := s.hm(), config.Default()
	return k.Set(&c, s.value) == nil && k.IsDefault(&c)
}

// text gives the value of a setting for people, without a secret.
func (s setting) text() string {
	k, c := s.hm(), config.Default()
	k.Set(&c, s.value)
	return k.Text(&c)
}

// describe gives a line for people.
func (im Import) describe(l Line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s", l.Outcome, l.Source)
	if l.Value != "" {
		b.WriteString(" = " + l.Value)
	}
	for i, key := range l.Keys {
		sign := ", "
		if i == 0 {
			sign = " -> "
		}
		b.WriteString(sign + key)
		if j := slices.IndexFunc(im.settings, func(s setting) bool { return s.key == key }); j >= 0 && l.Outcome != Default {
			b.WriteString(" = " + im.settings[j].text())
		}
	}
	if l.Note != "" {
		b.WriteString(": " + l.Note)
	}
	return b.String()
}
