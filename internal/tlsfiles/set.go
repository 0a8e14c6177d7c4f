package tlsfiles

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"
)

// Set are the files of one listener or client. Each handshake takes the configuration that Config gives at that time;
// connections that stand are not touched.
type Set struct {
	name  string
	files files
	check func(*x509.Certificate) error // nil: there is no further check

	inForce atomic.Pointer[material]

	mu       sync.Mutex
	readAt   time.Time
	seen     look // by the last look, if it was not in force
	refused  look
	err      error // why newer files are not in force
	errSince time.Time
	taken    uint64
	refusals uint64
	warned   map[string]time.Time // when a coming expiry was last logged, by key
}

// look is what a look at the files found: their digest, or why they cannot be read.
type look struct {
	digest [sha256.Size]byte
	text   string
}

// Config gives the configuration in force. Nil if the set is nil: there is no TLS.
func (s *Set) Config() *tls.Config {
	if s == nil {
		return nil
	}
	return s.inForce.Load().config
}

// ForListener gives a configuration for a listener that takes, for each handshake, what is in force then. Nil if the set
// is nil.
func (s *Set) ForListener() *tls.Config {
	if s == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.Config(), nil },
	}
}

// event is what a look changed.
type event uint8

const (
	nothing event = iota
	taken         // new files are in force
	refused       // new files are not
)

// look reads the files. New files are taken when two looks in a row have found the same, so that a file that is being
// written is not taken for a whole one; at once if a person asked for it.
func (s *Set) look(now time.Time, asked bool) (event, error) {
	c, err := s.files.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && c.digest == s.inForce.Load().digest {
		s.seen, s.refused, s.err = look{}, look{}, nil
		return nothing, nil
	}
	found := look{digest: c.digest}
	if err != nil {
		found.text = err.Error()
	}
	if before := s.seen; before != found && !asked {
		s.seen = found
		return nothing, nil
	}
	s.seen = found
	var m *material
	if err == nil {
		if m, err = s.files.make(c); err == nil {
			err = m.usable(s.files, now, s.check)
		}
	}
	if err == nil {
		s.inForce.Store(m)
		s.readAt, s.seen, s.refused, s.err = now, look{}, look{}, nil
		s.taken++
		clear(s.warned)
		return taken, nil
	}
	if s.err == nil {
		s.errSince = now
	}
	s.err = err
	found.text = err.Error()
	if found == s.refused && !asked {
		return nothing, nil
	}
	s.refused = found
	s.refusals++
	return refused, err
}

// State is what is known of a set of files.
type State struct {
	Name     string // what the files are for, as the configuration calls it: raft.tls
	ReadAt   time.Time
	Expiries []Expiry
	Err      error     // why newer files are not in force; nil: there are none
	ErrSince time.Time // when that was first seen
	Taken    uint64    // how often newer files were taken
	Refusals uint64    // how often they were not
}

func (s *Set) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := State{
		Name: s.name, ReadAt: s.readAt, Expiries: s.inForce.Load().expiries(s.files),
		Err: s.err, Taken: s.taken, Refusals: s.refusals,
	}
	if s.err != nil {
		t.ErrSince = s.errSince
	}
	return t
}

// due gives the expiries that are to be logged now: those of the next days, once a day.
func (s *Set) due(now time.Time) (due []Expiry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.inForce.Load().expiries(s.files) {
		if e.At.Sub(now) < WarnBefore && now.Sub(s.warned[e.Key]) >= warnEvery {
			s.warned[e.Key] = now
			due = append(due, e)
		}
	}
	return due
}
