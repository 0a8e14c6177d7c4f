package conformance

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// Ledger counts the assertions about each interface.
type Ledger struct {
	mu     sync.Mutex
	counts map[string]*tally
}

type tally struct{ made, failed int }

// Reporter takes failures: *testing.T.
type Reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// Check makes assertions about one interface in one test.
type Check struct {
	ledger   *Ledger
	reporter Reporter
	about    string // the interface
}

// Check gives the assertions of a test about an interface.
func (l *Ledger) Check(r Reporter, about string) Check { return Check{l, r, about} }

func (l *Ledger) count(about string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[string]*tally{}
	}
	t := l.counts[about]
	if t == nil {
		t = &tally{}
		l.counts[about] = t
	}
	t.made++
	if !ok {
		t.failed++
	}
}

// Print writes a line for each interface, and one for all of them.
func (l *Ledger) Print(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all tally
	var names []string
	for name, t := range l.counts {
		names = append(names, name)
		all.made, all.failed = all.made+t.made, all.failed+t.failed
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(w, "conformance: %-28s %5d assertions, %d failed\n", name, l.counts[name].made, l.counts[name].failed)
	}
	fmt.Fprintf(w, "conformance: %d assertions, %d failed\n", all.made, all.failed)
}

// That asserts that ok is true. id is the fact, what says what is looked at; the rest says what is wrong.
func (c Check) That(id, what string, ok bool, format string, args ...any) bool {
	c.reporter.Helper()
	c.ledger.count(c.about, ok)
	if !ok {
		c.reporter.Errorf("%s %s: %s", id, what, fmt.Sprintf(format, args...))
	}
	return ok
}

// Equal asserts that two values are printed alike.
func (c Check) Equal(id, what string, got, want any) bool {
	c.reporter.Helper()
	g, w := fmt.Sprint(got), fmt.Sprint(want)
	return c.That(id, what, g == w, "got %.600s, want %.600s", g, w)
}
