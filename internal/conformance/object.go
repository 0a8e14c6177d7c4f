package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Object is a JSON object that hm sent. Each look at a member is an assertion.
type Object struct {
	check   Check
	id      string // of the fact
	what    string
	members map[string]json.RawMessage
}

// Object asserts that data is one JSON object with exactly the members of names, each once.
func (c Check) Object(id, what string, data []byte, names ...string) Object {
	c.reporter.Helper()
	order, members, err := readObject(data)
	o := Object{c, id, what, members}
	if !c.That(id, what, err == nil, "%v: %.300s", err, data) {
		return o
	}
	for _, name := range names {
		c.That(id, what+": member "+name, slices.Contains(order, name), "is missing in %.300s", data)
	}
	for _, name := range order {
		c.That(id, what+": member "+name, slices.Contains(names, name), "is not in the format: %.300s", data)
	}
	return o
}

// readObject gives the members of an object, and their names in order. A name must not come twice.
func readObject(data []byte) (order []string, members map[string]json.RawMessage, err error) {
	members = map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, members, fmt.Errorf("it is no JSON object (begins with %v, %w)", t, err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, members, err
		}
		name := t.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, members, err
		}
		if _, twice := members[name]; twice {
			return nil, members, fmt.Errorf("member %s comes twice", name)
		}
		order, members[name] = append(order, name), value
	}
	if _, err := d.Token(); err != nil {
		return nil, members, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, members, fmt.Errorf("something follows the object")
	}
	return order, members, nil
}

func (o Object) at(name string) string { return o.what + ": member " + name }

// Text asserts that a member is a string with this value.
func (o Object) Text(name, want string) {
	o.check.reporter.Helper()
	var got string
	err := json.Unmarshal(o.members[name], &got)
	o.check.That(o.id, o.at(name), err == nil && got == want, "got %s, want %q", o.members[name], want)
}

// Whole asserts that a member is a number with this value, written without point and exponent.
func (o Object) Whole(name string, want int64) {
	o.check.reporter.Helper()
	o.check.Equal(o.id, o.at(name), string(o.members[name]), strconv.FormatInt(want, 10))
}

// Seconds asserts that a member is a number of seconds within a millisecond of want.
func (o Object) Seconds(name string, want float64) {
	o.check.reporter.Helper()
	got, err := strconv.ParseFloat(string(o.members[name]), 64)
	o.check.That(o.id, o.at(name), err == nil && math.Abs(got-want) <= 0.001, "got %s, want %.6f", o.members[name], want)
}

// Epoch asserts that a member is a whole number of seconds since the epoch from low to high.
func (o Object) Epoch(name string, low, high int64) {
	o.check.reporter.Helper()
	got, err := strconv.ParseInt(string(o.members[name]), 10, 64)
	o.check.That(o.id, o.at(name), err == nil && got >= low && got <= high, "got %s, want a whole number from %d to %d", o.members[name], low, high)
}

// Flag asserts that a member is this truth value.
func (o Object) Flag(name string, want bool) {
	o.check.reporter.Helper()
	o.check.Equal(o.id, o.at(name), string(o.members[name]), want)
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// UUID asserts that a member is a string in the form of a uuid, and gives it.
func (o Object) UUID(name string) string {
	o.check.reporter.Helper()
	var got string
	err := json.Unmarshal(o.members[name], &got)
	o.check.That(o.id, o.at(name), err == nil && uuidForm.MatchString(strings.ToLower(got)), "got %s, want a uuid", o.members[name])
	return got
}

// List asserts that a member is an array, not null, and gives its elements.
func (o Object) List(name string) []json.RawMessage {
	o.check.reporter.Helper()
	var list []json.RawMessage
	err := json.Unmarshal(o.members[name], &list)
	o.check.That(o.id, o.at(name), err == nil && list != nil, "got %.300s, want an array", o.members[name])
	return list
}
