package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"
)

const (
	// WarnBefore is how long before a certificate expires hm says so.
	WarnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour

	lookEvery = 2 * time.Second
)

// Watcher reads files again when they change. It compares what they have, not their times or names: so it notices a
// link that points elsewhere, as well as a file that was overwritten. It is safe for concurrent use. A nil Watcher makes
// sets that never change.
type Watcher struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	sets []*Set
}

// NewWatcher makes a Watcher that looks at nothing yet. Run must follow.
func NewWatcher(log *slog.Logger) *Watcher {
	return &Watcher{log: log.With("module", "tls"), every: lookEvery}
}

// Server is like the function Server. The set is nil if no file is named. name says what the files are for, ask how
// clients are asked for certificates if there is a clientCA.
func (w *Watcher) Server(name string, cert, key, clientCA File, ask tls.ClientAuthType) (*Set, error) {
	return w.add(&Set{name: name, files: files{role: ofServer, cert: cert, key: key, ca: clientCA, ask: ask}})
}

// Client is like the function Client.
func (w *Watcher) Client(name string, ca, cert, key File) (*Set, error) {
	return w.add(&Set{name: name, files: files{role: ofClient, cert: cert, key: key, ca: ca}})
}

// Peer is like the function Peer. A new certificate must also pass check.
func (w *Watcher) Peer(name string, cert, key, ca File, check func(*x509.Certificate) error) (*Set, error) {
	return w.add(&Set{name: name, files: files{role: ofPeer, cert: cert, key: key, ca: ca, ask: tls.RequireAndVerifyClientCert}, check: check})
}

func (w *Watcher) add(s *Set) (*Set, error) {
	if none, err := s.files.check(); none || err != nil {
		return nil, err
	}
	m, err := s.files.load()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s.inForce.Store(m)
	s.readAt, s.warned = now, map[string]time.Time{}
	if w == nil || first(s.files.cert, s.files.key, s.files.ca).Path == "" {
		return s, nil
	}
	if err := m.usable(s.files, now, s.check); err != nil {
		w.log.Warn("a certificate is used that others will not accept", "files", s.name, "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sets = append(w.sets, s)
	return s, nil
}

// Run looks at the files until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		w.look(time.Now(), false)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Reload reads all files now.
func (w *Watcher) Reload() { w.look(time.Now(), true) }

func (w *Watcher) look(now time.Time, asked bool) {
	for _, s := range w.all() {
		switch what, err := s.look(now, asked); what {
		case taken:
			w.log.Info("new certificates are in force", "files", s.name)
		case refused:
			w.log.Warn("new certificates are not taken; those read before stay in force", "files", s.name, "error", err)
		}
		for _, e := range s.due(now) {
			level, text := slog.LevelWarn, "a certificate expires soon"
			if now.After(e.At) {
				level, text = slog.LevelError, "a certificate has expired"
			}
			w.log.Log(context.Background(), level, text, "key", e.Key, "expires", e.At.UTC().Format(time.RFC3339))
		}
	}
}

func (w *Watcher) all() []*Set {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets[:len(w.sets):len(w.sets)]
}

// States gives what is known of each set of files. There are none for a nil Watcher.
func (w *Watcher) States() (states []State) {
	if w == nil {
		return nil
	}
	for _, s := range w.all() {
		states = append(states, s.state())
	}
	return states
}
