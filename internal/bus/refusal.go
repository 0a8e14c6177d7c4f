package bus

import (
	"cmp"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// What a server can refuse.
const (
	RefusedSubscribe = "subscribe" // that this link receives a subject
	RefusedPublish   = "publish"   // that this link sends on a subject
)

// Refusal is one subject that the server refuses to this link, because a permission is missing or messages are too large.
// A refused subscription is tried again, with growing pauses, until the server grants it. A refused publish ends when the
// server accepts the next message on the subject.
type Refusal struct {
	Action  string // RefusedSubscribe or RefusedPublish
	Subject string
	Error   string    // the server's text
	Since   time.Time // of the first refusal since the subject was last granted
	Last    time.Time // of the newest refusal
	Count   uint64    // since Since
}

// String formats a refusal in one line.
func (r Refusal) String() string { return r.Action + " " + r.Subject + ": " + r.Error }

// repliesSubject stands for all subjects that this link does not choose: those of answers, sent or received.
const repliesSubject = "_INBOX.>"

// maxPublished bounds the subjects whose refused publishes are reported one by one.
const maxPublished = 64

type refusalKey struct{ action, subject string }

// refusals is what the server refuses, guarded by Link.mu.
type refusals struct {
	rows      map[refusalKey]*Refusal
	asked     map[string]bool // subjects that were subscribed to; true: by a vital subscription
	published map[string]bool // subjects on which this link published, without answers
	total     map[refusalKey]uint64
}

func newRefusals() refusals {
	return refusals{rows: map[refusalKey]*Refusal{}, asked: map[string]bool{}, published: map[string]bool{},
		total: map[refusalKey]uint64{}}
}

// Refusals gives what the server refuses now, by action and subject. While the link is down it gives the last state.
func (l *Link) Refusals() []Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Refusal, 0, len(l.refused.rows))
	for _, r := range l.refused.rows {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Refusal) int {
		return cmp.Or(strings.Compare(a.Action, b.Action), strings.Compare(a.Subject, b.Subject))
	})
	return list
}

// RefusalTotals calls fn with how often the server has refused each action and subject since the link was opened.
func (l *Link) RefusalTotals(fn func(action, subject string, total uint64)) {
	l.mu.Lock()
	totals := make(map[refusalKey]uint64, len(l.refused.total))
	for k, n := range l.refused.total {
		totals[k] = n
	}
	l.mu.Unlock()
	for k, n := range totals {
		fn(k.action, k.subject, n)
	}
}

// Refused reports whether the link is up and the server refuses its subscription to a subject.
func (l *Link) Refused(subject string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up != nil && l.refused.rows[refusalKey{RefusedSubscribe, subject}] != nil
}

// violation is a server's message about a permission. hint, if it is not empty, says what to do.
type violation struct{ action, subject, text, hint string }

var (
	violationWords     = regexp.MustCompile(`(?i)for (subscription|publish) to ("(?:[^"\\]|\\.)*")`)
	subscriptionNumber = regexp.MustCompile(` \(sid "\d+"\)$`) // of this connection, useless to a reader
)

func parseViolation(err error) violation {
	words := strings.TrimPrefix(err.Error(), nats.ErrPermissionViolation.Error()+": ")
	words = subscriptionNumber.ReplaceAllString(words, "")
	v := violation{action: RefusedPublish, subject: repliesSubject, text: words}
	m := violationWords.FindStringSubmatch(words)
	if m == nil {
		return v
	}
	if strings.EqualFold(m[1], "subscription") {
		v.action = RefusedSubscribe
	}
	if subject, err := strconv.Unquote(m[2]); err == nil {
		v.subject = subject
	}
	return v
}

// noteRefusal records that the server refuses something on a connection.
func (l *Link) noteRefusal(ses *session, v violation) {
	l.mu.Lock()
	if l.live.Load() != ses {
		l.mu.Unlock()
		return // of a closed connection
	}
	vital, asked := l.refused.asked[v.subject]
	subscribed := v.action == RefusedSubscribe && asked
	if !subscribed && !(v.action == RefusedPublish && l.refused.published[v.subject]) {
		v.subject = repliesSubject
	}
	k := refusalKey{v.action, v.subject}
	now := time.Now()
	r := l.refused.rows[k]
	first := r == nil
	if first {
		r = &Refusal{Action: v.action, Subject: v.subject, Since: now}
		l.refused.rows[k] = r
	}
	r.Error, r.Last = v.text, now
	r.Count++
	l.refused.total[k]++
	if first && l.up == ses && subscribed && vital {
		l.beginEpoch() // its messages are missed from now on
	}
	l.mu.Unlock()

	hint := v.hint
	switch {
	case hint != "":
	case subscribed:
		hint = "grant the user that hm connects as the permission to subscribe; hm asks again until it has it"
	default:
		hint = "grant the user that hm connects as the permission to " + v.action
	}
	// The server's text consists of the subject and the queue group: it contains no secret.
	l.log.Log(slog.LevelError, "refused "+v.action+" "+v.subject, "nats refuses a subject to this node", func() []any {
		return []any{"server", ses.server, "action", v.action, "subject", v.subject, "error", v.text, "hint", hint}
	})
}

// noteGrant records that the server no longer refuses something.
func (l *Link) noteGrant(k refusalKey) {
	l.mu.Lock()
	r := l.refused.rows[k]
	delete(l.refused.rows, k)
	l.mu.Unlock()
	if r != nil {
		l.logger.Info("nats takes a subject that it has refused to this node", "action", k.action, "subject", k.subject,
			"refused_for", time.Since(r.Since).Round(time.Millisecond))
	}
}

// counts gives how often each subject was refused since the link was opened.
func (l *Link) counts(action string, subjects ...string) map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]uint64, len(subjects))
	for _, s := range subjects {
		n[s] = l.refused.total[refusalKey{action, s}]
	}
	return n
}

// serverText gives the server's newest text about a refused subject.
func (l *Link) serverText(action, subject string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.refused.rows[refusalKey{action, subject}]; r != nil {
		return r.Error
	}
	return ""
}
