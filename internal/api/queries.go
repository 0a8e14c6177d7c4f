package api

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"hm/internal/bus"
)

// The subjects on which a Cloud Controller asks, and the group that shares the questions among all nodes (N38).
const (
	subjectAppState     = "app.state"
	subjectAppStateBulk = "app.state.bulk"
	queryGroup          = "hm9000"
)

// Limits on questions that wait. A Cloud Controller gives up after 2 s, so there is no point in a long queue.
const (
	maxQueries      = 256
	maxQueriesBytes = 8 << 20
)

// QueryLink is what answering questions needs of a link: *bus.Link.
type QueryLink interface {
	SubscribeQueue(subject, queue string, limits bus.Limits, fn func(bus.Msg)) error
	Answer(m bus.Msg, data []byte) error
}

// Queries answers what a Cloud Controller asks over NATS.
type Queries struct {
	server *Server
	link   QueryLink
	logger *slog.Logger

	mu     sync.Mutex // guards closed and sends on work
	closed bool
	work   chan bus.Msg
	done   chan struct{}

	answered, passedOver atomic.Uint64
}

// ServeQueries subscribes to the questions and answers them from s's node until Close. The subscriptions are the
// link's, for its life; after Close they are passed over. Questions beyond those that may wait are passed over, too:
// whoever asked will ask again, and a full subscription would count as a gap in what was heard.
func ServeQueries(link QueryLink, s *Server) (*Queries, error) {
	q := &Queries{server: s, link: link, logger: s.opts.Logger, work: make(chan bus.Msg, maxQueries), done: make(chan struct{})}
	go q.run()
	for _, subject := range []string{subjectAppState, subjectAppStateBulk} {
		limits := bus.Limits{Messages: maxQueries, Bytes: maxQueriesBytes}
		if err := link.SubscribeQueue(subject, queryGroup, limits, q.take); err != nil {
			q.Close()
			return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
	}
	return q, nil
}

// take queues a question, or passes it over. It never waits.
func (q *Queries) take(m bus.Msg) {
	if m.Reply == "" {
		return // N38: ignored
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	select {
	case q.work <- m:
	default:
		q.passedOver.Add(1)
	}
}

func (q *Queries) run() {
	defer close(q.done)
	for m := range q.work {
		if err := q.link.Answer(m, q.answer(m)); err != nil {
			q.logger.Debug("a question could not be answered", "subject", m.Subject, "error", err)
			continue
		}
		q.answered.Add(1)
	}
}

func (q *Queries) answer(m bus.Msg) []byte {
	n, fresh := q.server.answerable()
	if m.Subject == subjectAppState {
		return AppState(n.view, fresh, n.wall, m.Data)
	}
	return AppStateBulk(n.view, fresh, n.wall, m.Data)
}

// Stats tells how many questions were answered, and how many passed over because too many came at once.
func (q *Queries) Stats() (answered, passedOver uint64) {
	return q.answered.Load(), q.passedOver.Load()
}

// Close answers what is queued and returns when that is done.
func (q *Queries) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.work)
	}
	q.mu.Unlock()
	<-q.done
}
