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

// The subjects on which a Cloud Controller asks (N35 to N39), and the group that shares the questions among all nodes.
const (
	subjectAppState     = "app.state"
	subjectAppStateBulk = "app.state.bulk"
	subjectStatus       = "healthmanager.status"
	subjectHealth       = "healthmanager.health"
	subjectDroplet      = "healthmanager.droplet"
	queryGroup          = "hm9000"
	// subjectReady is where a node of the group asks whether another one knows enough to answer. Only nodes that do are
	// subscribed.
	subjectReady = "hm.app.state.ready"
)

// Limits on questions that wait. A Cloud Controller gives up after 2 s, so a long queue would be useless.
const (
	maxQueries      = 256
	maxQueriesBytes = 8 << 20
)

// QueryLink is the part of a link that answers questions: *bus.Link.
type QueryLink interface {
	SubscribeQueue(subject, queue string, limits bus.Limits, fn func(bus.Msg)) error
	// Leave leaves the messages of a queue group to its other members; Rejoin undoes that.
	Leave(subject, queue string)
	Rejoin(subject, queue string)
	// MaxPayload is the largest answer that the server accepts, in bytes; 0 if that is not known.
	MaxPayload() int
	Answer(m bus.Msg, data []byte) error
	// Hand publishes a request on another subject, for somebody else to answer.
	Hand(m bus.Msg, subject string) error
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
	work       chan question
	answers    sync.WaitGroup  // the goroutine that answers
	membership sync.WaitGroup  // the goroutine that leaves the group and comes back
	ctx        context.Context // ended first by Close
	end        context.CancelFunc
	closing    sync.Once

	answered, ignored atomic.Uint64
}

// ServeQueries subscribes to the questions and answers them from the node of s until Close. The link keeps the
// subscriptions for its life; after Close their messages are ignored. A node that knows less than its peers leaves the
// questions to them. Questions for which the queue has no room are ignored: a Cloud Controller asks again, and a full
// subscription would count as a gap in what was heard.
func ServeQueries(link QueryLink, s *Server) (*Queries, error) {
	q := &Queries{
		server: s, link: link, logger: s.opts.Logger, log: sampled.New(s.opts.Logger, logInterval, 1),
		work: make(chan question, maxQueries),
	}
	q.ctx, q.end = context.WithCancel(context.Background())
	q.answers.Go(q.run)
	for _, subject := range questionSubjects {
		limits := bus.Limits{Messages: maxQueries, Bytes: maxQueriesBytes}
		if err := link.SubscribeQueue(subject, queryGroup, limits, q.take); err != nil {
			q.Close()
			return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
	}
	handed := bus.NodeSubject(s.opts.ID, subjectHanded)
	if err := link.SubscribeQueue(handed, queryGroup, bus.Limits{Messages: maxQueries, Bytes: maxQueriesBytes}, q.takeHanded); err != nil {
		q.Close()
		return nil, fmt.Errorf("subscribing to %s: %w", handed, err)
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

// question is a message that waits for an answer.
type question struct {
	bus.Msg
	handed bool // another node has handed it over to this one
}

// take takes a question of a Cloud Controller.
func (q *Queries) take(m bus.Msg) {
	q.server.questions.of(m.Subject).received.Add(1)
	q.queue(question{Msg: m})
}

// queue keeps a question until it is its turn, or ignores it if the queue is full. It never waits.
func (q *Queries) queue(m question) {
	if m.Reply == "" {
		return // N38: a question without a reply subject is ignored
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	select {
	case q.work <- m:
	default:
		q.ignored.Add(1)
	}
}

func (q *Queries) run() {
	for m := range q.work {
		answered := false
		switch m.Subject {
		case subjectAppState, subjectAppStateBulk:
			answered = q.reply(m.Msg, q.appState(m.Msg))
		default:
			answered = q.answerHealth(m)
		}
		if answered {
			q.answered.Add(1)
			q.server.questions.of(m.Subject).answered.Add(1)
		}
	}
}

// reply sends one reply to a question.
func (q *Queries) reply(m bus.Msg, data []byte) (sent bool) {
	err := q.link.Answer(m, data)
	if err != nil {
		q.logger.Debug("a question was not answered", "subject", m.Subject, "error", err)
	}
	return err == nil
}

// maxPayload is the largest reply that the server accepts, in bytes.
func (q *Queries) maxPayload() int {
	if limit := q.link.MaxPayload(); limit > 0 {
		return limit
	}
	return math.MaxInt
}

// appState gives the answer to app.state and app.state.bulk.
func (q *Queries) appState(m bus.Msg) []byte {
	n, fresh := q.server.snapshotForQuery()
	limit, objects := q.maxPayload(), q.server.appObjects(n)
	if m.Subject == subjectAppState {
		answer := objects.One(fresh, m.Data)
		if len(answer) <= limit {
			return answer
		}
		var asked appAsked
		_ = json.Unmarshal(m.Data, &asked) // AppObjects has read it before
		q.leftOut(m.Subject, limit, 1, leftOut{apps: 1, largest: asked.Droplet, whole: len(answer)})
		return emptyObject
	}
	keys := objects.bulkKeys(fresh, m.Data)
	answer, left := objects.fitBulk(keys, limit)
	if left.apps > 0 {
		q.leftOut(m.Subject, limit, len(keys), left)
	}
	return answer
}

// logInterval is how often a kind of event that outsiders cause is logged.
const logInterval = 10 * time.Second

// leftOut counts and logs that apps were left out of an answer. For the Cloud Controller it looks as if hm did not know
// them.
func (q *Queries) leftOut(subject string, limit, apps int, left leftOut) {
	q.server.questions.of(subject).leftOut.Add(uint64(left.apps))
	hint := "raise max_payload of the nats server"
	if subject == subjectAppState || subject == subjectAppStateBulk {
		hint += ", or let the Cloud Controller ask POST " + bulkPath
	}
	q.log.Warn("left out "+subject, "apps were left out of an answer, because it would have been larger than the nats server accepts", func() []any {
		return []any{
			"subject", subject, "bytes", left.whole, "max_payload", limit, "apps", apps, "left_out", left.apps, "largest", left.largest,
			"hint", hint,
		}
	})
}

// Stats gives how many questions were answered, and how many were ignored because too many came at once.
func (q *Queries) Stats() (answered, ignored uint64) {
	return q.answered.Load(), q.ignored.Load()
}

// Close leaves the questions to the other nodes, answers those that are queued, and returns when that is done.
func (q *Queries) Close() {
	q.closing.Do(func() {
		q.end()
		q.membership.Wait()
		q.join(false, subjectReady, bus.NodeSubject(q.server.opts.ID, subjectHanded))
		q.join(false, questionSubjects[:]...)
		q.server.answering.Store(false)
		q.mu.Lock()
		q.closed = true
		close(q.work)
		q.mu.Unlock()
	})
	q.answers.Wait()
}
