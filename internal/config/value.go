package config

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Get gives the value of the key in c: a string, []string, bool, int, float64 or time.Duration.
func (k Key) Get(c *Config) any { return reflect.ValueOf(k.field(c)).Elem().Interface() }

// Type names the kind of the key's value: text, list, switch, number, share or duration.
func (k Key) Type() string {
	switch k.field(new(Config)).(type) {
	case *[]string:
		return "list"
	case *bool:
		return "switch"
	case *int:
		return "number"
	case *float64:
		return "share"
	case *time.Duration:
		return "duration"
	}
	return "text"
}

// Text gives the value in the form that SetText reads, but with secrets masked.
func (k Key) Text(c *Config) string { return k.show(k.Get(c)) }

// DefaultText gives the key's default value in the form that SetText reads.
func (k Key) DefaultText() string {
	c := Default()
	return k.Text(&c)
}

// IsDefault reports whether the key has its default value in c.
func (k Key) IsDefault(c *Config) bool {
	d := Default()
	return equal(k.Get(c), k.Get(&d))
}

func equal(a, b any) bool {
	if x, ok := a.([]string); ok {
		return slices.Equal(x, b.([]string))
	}
	return a == b
}

// SetText sets the key from text, as the environment and --set give it. The elements of a list are separated by commas.
// It returns nil, or a problem; then c is unchanged.
func (k Key) SetText(c *Config, text string) *Problem {
	var v any
	var err error
	switch p := k.field(c).(type) {
	case *string:
		*p = text
		return nil
	case *[]string:
		*p = splitList(text)
		return nil
	case *bool:
		switch strings.TrimSpace(text) {
		case "true", "false":
			v = strings.TrimSpace(text) == "true"
		default:
			err = strconv.ErrSyntax
		}
	case *int:
		v, err = strconv.Atoi(strings.TrimSpace(text))
	case *float64:
		v, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
	case *time.Duration:
		v, err = time.ParseDuration(strings.TrimSpace(text))
	}
	if err != nil {
		return k.mistyped(text)
	}
	return k.Set(c, v)
}

func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// Set sets the key from a decoded YAML, JSON or TOML value. It converts only numbers to numbers, and text to durations,
// because a value of another type is probably a mistake. It returns nil, or a problem; then c is unchanged.
func (k Key) Set(c *Config, v any) *Problem {
	ok := false
	switch p := k.field(c).(type) {
	case *string:
		ok = store(p, v)
	case *[]string:
		var list []string
		if list, ok = textList(v); ok {
			*p = list
		}
	case *bool:
		ok = store(p, v)
	case *int:
		var n int
		if n, ok = wholeNumber(v); ok {
			*p = n
		}
	case *float64:
		var f float64
		if f, ok = number(v); ok {
			*p = f
		}
	case *time.Duration:
		if s, isText := v.(string); isText {
			if d, err := time.ParseDuration(s); err == nil {
				v = d
			}
		}
		ok = store(p, v)
	}
	if !ok {
		return k.mistyped(v)
	}
	return nil
}

func store[T any](p *T, v any) bool {
	t, ok := v.(T)
	if ok {
		*p = t
	}
	return ok
}

func textList(v any) ([]string, bool) {
	switch v := v.(type) {
	case []string:
		return slices.Clone(v), true
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			if !store(&list[i], e) {
				return nil, false
			}
		}
		return list, true
	}
	return nil, false
}

func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int64:
		return int(v), int64(int(v)) == v
	case uint64:
		return int(v), v <= math.MaxInt
	case float64: // every number in JSON
		const exact = 1 << 53
		return int(v), v == math.Trunc(v) && -exact <= v && v <= exact
	}
	return 0, false
}

func number(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := wholeNumber(v)
	return float64(n), ok
}

// mistyped gives the problem that v is not of the key's type. It names the form of the type and the limits of the key.
func (k Key) mistyped(v any) *Problem {
	want := k.limit.want
	switch k.Type() {
	case "duration":
		want += ", with its unit, such as 500ms, 10s or 2m"
	case "list":
		want = "a list: " + want
	case "text":
		want = "text (in quotes): " + want
	}
	return &Problem{Key: k.Name, Value: k.show(v), Want: want}
}

// Accepts reports whether the value of the key in c is within the limits of this key alone.
func (k Key) Accepts(c *Config) bool { return k.limit.ok(k.Get(c)) }
