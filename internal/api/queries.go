package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/bus"
	"hm/internal/sampled"
)

// The subjects on which a Cloud Controller asks, and the group that shares the questions among all nodes (N38).
const (
	subjectAppState     = "app.state"
	subjectAppStateBulk = "app.state.bulk"
	queryGroup          = "hm9000"
	// subjectReady is where a node of the group asks whether another one knows enough to answer. Those that do listen.
	subjectReady = "hm.app.state.ready"
)

// Limits on questions that wait. A Cloud Controller gives up after 2 s, so there is no point in a long queue.
const (
	maxQueries      = 256
	maxQueriesBytes = 8 << 20
)

// QueryLink is what answering questions needs of a link: *bus.Link.
type QueryLink interface {
	SubscribeQueue(subject, queue string, limits bus.Limits, fn func(bus.Msg)) error
	// Leave has the other members of a queue group get its messages, Rejoin undoes that.
	Leave(subject, queue string)
	Rejoin(subject, queue string)
	// MaxPayload is how large an answer may be; 0 if that is not known.
	MaxPayload() int
	Answer(m bus.Msg, data []byte) error
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
}

// Queries answers what a Cloud Controller asks over NATS.
type Queries struct {
	server *Server
	link   QueryLink
	logger *slog.Logger
	log    *sampled.Log

	mu         sync.Mutex // guards closed and sends on work
	closed     bool
	work       chan bus.Msg
	answers    sync.WaitGroup  // the goroutine that answers
	membership sync.WaitGroup  // the one that leaves the group and comes back
	ctx        context.Context // ended first by Close
	end        context.CancelFunc
	closing    sync.Once

	answered, passedOver atomic.Uint64
}

// ServeQueries subscribes to the questions and answers them from s's node until Close. The subscriptions are the
// link's, for its life; after Close they are passed over. A node that knows less than its peers leaves them to those.
// Questions beyond those that may wait are passed over, too:
// whoever asked will ask again, and a full subscription would count as a gap in what was heard.
func ServeQueries(link QueryLink, s *Server) (*Queries, error) {
	q := &Queries{
		server: s, link: link, logger: s.opts.Logger, log: sampled.New(s.opts.Logger, logInterval, 1),
		work: make(chan bus.Msg, maxQueries),
	}
	q.ctx, q.end = context.WithCancel(context.Background())
	q.answers.Go(q.run)
	for _, subject := range []string{subjectAppState, subjectAppStateBulk} {
		limits := bus.Limits{Messages: maxQueries, Bytes: maxQueriesBytes}
		if err := link.SubscribeQueue(subject, queryGroup, limits, q.take); err != nil {
			q.Close()
			return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
	}
	if err := link.SubscribeQueue(subjectReady, queryGroup, bus.Limits{}, q.ready); err != nil {
		q.Close()
		return nil, fmt.Errorf("subscribing to %s: %w", subjectReady, err)
	}
	link.Leave(subjectReady, queryGroup) // until it is known that this node knows enough
	s.answering.Store(true)
	q.membership.Go(q.keepMembership)
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
	for m := range q.work {
		if err := q.link.Answer(m, q.answer(m)); err != nil {
			q.logger.Debug("a question could not be answered", "subject", m.Subject, "error", err)
			continue
		}
		q.answered.Add(1)
	}
}

func (q *Queries) answer(m bus.Msg) []byte {
	n, fresh := q.server.snapshotForQuery()
	limit := q.link.MaxPayload()
	if limit <= 0 {
		limit = math.MaxInt
	}
	if m.Subject == subjectAppState {
		answer := AppState(n.view, fresh, n.wall, m.Data)
		if len(answer) <= limit {
			return answer
		}
		var asked appAsked
		_ = json.Unmarshal(m.Data, &asked) // it was read before
		q.leftOut(m.Subject, limit, len(answer), 1, leftOut{apps: 1, largest: asked.Droplet})
		return emptyObject
	}
	keys := bulkKeys(n.view, fresh, m.Data)
	answer, left := fitBulk(n.view, n.wall, keys, limit)
	if left.apps > 0 {
		q.leftOut(m.Subject, limit, left.whole, len(keys), left)
	}
	return answer
}

// logInterval is how often a kind of event that outsiders cause is logged.
const logInterval = 10 * time.Second

// leftOut counts and tells that apps were left out of an answer: to whoever asked it is as if they were not known.
func (q *Queries) leftOut(subject string, limit, whole, apps int, left leftOut) {
	at := 0
	if subject == subjectAppStateBulk {
		at = 1
	}
	q.server.leftOut[at].Add(uint64(left.apps))
	q.log.Warn("left out "+subject, "apps were left out of an answer, as it would have been larger than the nats server takes", func() []any {
		return []any{
			"subject", subject, "bytes", whole, "max_payload", limit, "apps", apps, "left_out", left.apps, "largest", left.largest,
			"hint", "raise max_payload of the nats server, or have the Cloud Controller ask POST " + bulkPath,
		}
	})
}

// Stats tells how many questions were answered, and how many passed over because too many came at once.
func (q *Queries) Stats() (answered, passedOver uint64) {
	return q.answered.Load(), q.passedOver.Load()
}

// Close leaves the questions to the other nodes, answers what is queued, and returns when that is done.
func (q *Queries) Close() {
	q.closing.Do(func() {
		q.end()
		q.membership.Wait()
		for _, subject := range []string{subjectReady, subjectAppState, subjectAppStateBulk} {
			q.link.Leave(subject, queryGroup)
		}
		q.server.answering.Store(false)
		q.mu.Lock()
		q.closed = true
		close(q.work)
		q.mu.Unlock()
	})
	q.answers.Wait()
}
