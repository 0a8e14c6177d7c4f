package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on a filter.
const (
	maxFilter       = 1024 // bytes
	maxConditions   = 16
	maxAlternatives = 32 // of one condition
)

// field is something about an item of a list that a filter can ask for, or by which a list can be sorted. It has texts
// or number, not both.
type field[T any] struct {
	name string
	// texts reports whether is is true for a text of the item. Most fields have one text; some have several.
	texts func(item *T, is func(string) bool) bool
	words []string // the texts that there are; nil: any
	// number gives a number of the item: a count, or with duration a time span in milliseconds. ok is false if the item
	// has none.
	number   func(item *T) (n int64, ok bool)
	duration bool
	// sort gives the number by which a list is sorted; nil: by number, or not at all if that is nil too.
	sort func(item *T) int64
	// natural says that the list's own order is by this field.
	natural bool
	needs   needs // what the item must hold for this field
	about   string
}

// needs says which parts of an item a filter or an order reads, so that the others are not found out.
type needs uint8

// The parts of an item of GET /v1/apps.
const (
	needsDrift needs = 1 << iota
	needsCrashes
	needsInstances
)

func (f *field[T]) sorts() func(*T) int64 {
	switch {
	case f.sort != nil:
		return f.sort
	case f.number != nil:
		return func(item *T) int64 { n, _ := f.number(item); return n }
	}
	return nil
}

// text makes a field with one text.
func text[T any](of func(*T) string) func(*T, func(string) bool) bool {
	return func(item *T, is func(string) bool) bool { return is(of(item)) }
}

// operators, the longer ones first.
var operators = []string{"!=", ">=", "<=", "=", ">", "<"}

// condition is one part of a filter.
type condition[T any] struct {
	field *field[T]
	op    string
	texts []string // alternatives; one that ends with * stands for all texts that begin so
	n     int64
}

// filter is a parsed filter: its conditions must all hold.
type filter[T any] []condition[T]

// parseFilter reads a filter: conditions FIELD OPERATOR VALUE with commas between them. The operators are = and !=, and
// for numbers and durations also <, <=, > and >=. A value of = and != may be several with | between them.
func parseFilter[T any](text string, fields []field[T]) (filter[T], error) {
	if len(text) > maxFilter {
		return nil, badFilter("the filter has %d bytes, at most %d are allowed", len(text), maxFilter)
	}
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > maxConditions {
		return nil, badFilter("the filter has %d conditions, at most %d are allowed", len(parts), maxConditions)
	}
	var f filter[T]
	for _, part := range parts {
		c, err := parseCondition(strings.TrimSpace(part), fields)
		if err != nil {
			return nil, err
		}
		f = append(f, c)
	}
	return f, nil
}

func parseCondition[T any](part string, fields []field[T]) (c condition[T], err error) {
	at := strings.IndexAny(part, "=!<>")
	if at < 0 {
		return c, badFilter("the condition %.60q has no operator: write FIELD=VALUE, with one of %s", part, strings.Join(operators, " "))
	}
	rest := part[at:]
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			c.op = op
			break
		}
	}
	if c.op == "" {
		return c, badFilter("the condition %.60q has no operator that exists: use one of %s", part, strings.Join(operators, " "))
	}
	name, value := strings.TrimSpace(part[:at]), strings.TrimSpace(rest[len(c.op):])
	if c.field, err = fieldNamed(name, fields); err != nil {
		return c, err
	}
	return c, c.setValue(value)
}

func fieldNamed[T any](name string, fields []field[T]) (*field[T], error) {
	names := make([]string, len(fields))
	for i := range fields {
		if fields[i].name == name {
			return &fields[i], nil
		}
		names[i] = fields[i].name
	}
	p := badFilter("there is no field %.40q here", name)
	p.Hint = "the fields are " + strings.Join(names, ", ")
	return nil, p
}

func (c *condition[T]) setValue(value string) error {
	f := c.field
	if f.number != nil {
		var err error
		if f.duration {
			var d time.Duration
			if d, err = time.ParseDuration(value); err != nil {
				return badFilter("%s is compared with a duration like 30s or 5m, not with %.40q", f.name, value)
			}
			c.n = d.Milliseconds()
		} else if c.n, err = strconv.ParseInt(value, 10, 64); err != nil {
			return badFilter("%s is compared with a whole number, not with %.40q", f.name, value)
		}
		return nil
	}
	if c.op != "=" && c.op != "!=" {
		return badFilter("%s is a text: compare it with = or !=", f.name)
	}
	c.texts = strings.Split(value, "|")
	if len(c.texts) > maxAlternatives {
		return badFilter("%s has %d values, at most %d are allowed", f.name, len(c.texts), maxAlternatives)
	}
	for _, t := range c.texts {
		if f.words != nil && !slices.Contains(f.words, t) {
			p := badFilter("%s is never %.40q", f.name, t)
			p.Hint = "it is one of " + strings.Join(f.words, ", ")
			return p
		}
	}
	return nil
}

func badFilter(format string, args ...any) *Problem {
	return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf(format, args...), "")
}

// String gives the filter in its plainest form. It means the same.
func (f filter[T]) String() string {
	parts := make([]string, len(f))
	for i, c := range f {
		value := strings.Join(c.texts, "|")
		if c.field.number != nil {
			value = strconv.FormatInt(c.n, 10)
			if c.field.duration {
				value += "ms"
			}
		}
		parts[i] = c.field.name + c.op + value
	}
	return strings.Join(parts, ",")
}

// match reports whether all conditions hold for an item.
func (f filter[T]) match(item *T) bool {
	for i := range f {
		if !f[i].match(item) {
			return false
		}
	}
	return true
}

func (f filter[T]) needs() (n needs) {
	for i := range f {
		n |= f[i].field.needs
	}
	return n
}

func (c *condition[T]) match(item *T) bool {
	if c.field.number != nil {
		n, ok := c.field.number(item)
		if !ok {
			return c.op == "!="
		}
		order := cmp.Compare(n, c.n)
		switch c.op {
		case "=":
			return order == 0
		case "!=":
			return order != 0
		case "<":
			return order < 0
		case "<=":
			return order <= 0
		case ">":
			return order > 0
		}
		return order >= 0
	}
	return c.field.texts(item, c.is) == (c.op == "=")
}

// is reports whether a text is one of the alternatives.
func (c *condition[T]) is(text string) bool {
	for _, t := range c.texts {
		if begin, ok := strings.CutSuffix(t, "*"); ok && c.field.words == nil && strings.HasPrefix(text, begin) || t == text {
			return true
		}
	}
	return false
}

// order is how a list is sorted: by a number of each item, and items with the same number in the list's own order. The
// zero order is the list's own.
type order[T any] struct {
	field *field[T]
	by    func(*T) int64
	down  bool
}

// parseOrder reads a parameter sort: the name of a field, with a - before it to begin with the largest.
func parseOrder[T any](text string, fields []field[T]) (o order[T], err error) {
	if text == "" {
		return o, nil
	}
	name, down := strings.CutPrefix(text, "-")
	var names []string
	for i := range fields {
		by := fields[i].sorts()
		if by == nil && !fields[i].natural {
			continue
		}
		if fields[i].name == name {
			return order[T]{field: &fields[i], by: by, down: down}, nil
		}
		names = append(names, fields[i].name)
	}
	p := badRequest("this list cannot be sorted by %.40q", name)
	p.Hint = "it can be sorted by " + strings.Join(names, ", ") + ", with - before the name to begin with the largest"
	return o, p
}

// String gives the parameter.
func (o order[T]) String() string {
	switch {
	case o.field == nil:
		return ""
	case o.down:
		return "-" + o.field.name
	}
	return o.field.name
}

// byValue reports whether items are sorted by a number, not in the list's own order or its reverse.
func (o order[T]) byValue() bool { return o.by != nil }

// reversed reports whether items are in the reverse of the list's own order.
func (o order[T]) reversed() bool { return o.by == nil && o.down }

// value gives the number by which an item is sorted: smaller ones come first.
func (o order[T]) value(item *T) int64 {
	switch {
	case o.by == nil:
		return 0
	case o.down:
		return -o.by(item)
	}
	return o.by(item)
}
