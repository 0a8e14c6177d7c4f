package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// published counts what clients publish on a server, by subject. The server itself reports each message, so nothing is
// missed, not even at the moment in which clients connect again.
type published struct {
	mu     sync.Mutex
	counts map[string]int
	log    []string // the newest lines, to be shown when a test fails
}

const maxPublishedLog = 200

// line takes a line of the server's trace, such as `127.0.0.1:4711 - cid:5 - <<- [PUB hm9000.start 155]`. What came over
// a route has another word than PUB, so each message of a cluster is counted once.
func (p *published) line(text string) {
	_, op, ok := strings.Cut(text, "<<- [")
	if !ok {
		return
	}
	words := strings.Fields(op)
	if len(words) < 2 || words[0] != "PUB" && words[0] != "HPUB" || strings.HasPrefix(words[1], "_INBOX.") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts == nil {
		p.counts = map[string]int{}
	}
	p.counts[words[1]]++
}

// Published counts the messages that clients have published on the subjects that match: "hm9000.>" means all subjects
// that begin with "hm9000.". The counts go on through restarts of the server.
func (s *Server) Published(patterns ...string) (n int) { return s.seen.count(patterns) }

func (p *published) count(patterns []string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, subject := range slices.Sorted(maps.Keys(p.counts)) {
		for _, pattern := range patterns {
			prefix, all := strings.CutSuffix(pattern, ">")
			if subject == pattern || all && strings.HasPrefix(subject, prefix) {
				n += p.counts[subject]
			}
		}
	}
	return n
}

// trace is the server's logger. It keeps warnings and errors.
type trace struct{ to *published }

func (t trace) Noticef(format string, v ...any) { t.keep("notice", format, v) }
func (t trace) Warnf(format string, v ...any)   { t.keep("warning", format, v) }
func (t trace) Errorf(format string, v ...any)  { t.keep("error", format, v) }
func (t trace) Fatalf(format string, v ...any)  { t.keep("fatal", format, v) }
func (t trace) Debugf(string, ...any)           {}
func (t trace) Tracef(format string, v ...any)  { t.to.line(fmt.Sprintf(format, v...)) }

func (t trace) keep(level, format string, v []any) {
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	t.to.log = append(t.to.log, level+": "+fmt.Sprintf(format, v...))
	if extra := len(t.to.log) - maxPublishedLog; extra > 0 {
		t.to.log = slices.Delete(t.to.log, 0, extra)
	}
}

// Log gives what the server has logged, without traces.
func (s *Server) Log() string {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return strings.Join(s.seen.log, "\n")
}

// Refused counts the connections that the server has refused because of their credentials.
func (s *Server) Refused() (n int) {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	for _, line := range s.seen.log {
		if strings.Contains(line, "authentication error") {
			n++
		}
	}
	return n
}
