package api

import "fmt"

// maxAnswerBytes bounds the replies to one question together. They go over the link that carries the commands.
const maxAnswerBytes = 8 << 20

// answerHealth answers a question on healthmanager.* and reports whether there was a reply. If the record cannot be
// relied on there is none: every reply of HealthManager 2.0 states a fact, and a Cloud Controller that gets none within
// its time to wait knows that nothing is known.
//
// This node may have lost its trust in the record since it last decided whether it is in the queue group; a node that
// was just elected does for a moment. Then it hands the question over to a peer that knows enough.
func (q *Queries) answerHealth(m question) (answered bool) {
	n, fresh := q.server.snapshotForQuery()
	if !fresh {
		q.handOver(m)
		return false
	}
	set := replySet{maxOne: q.maxPayload(), maxAll: maxAnswerBytes}
	reply := func(droplet string, data []byte) bool {
		if set.takes(droplet, len(data)) {
			answered = q.reply(m.Msg, data)
			return answered
		}
		return true
	}
	h := HealthAnswers{View: n.view, Now: n.hm, Wall: n.wall, Policy: q.server.opts.Policy}
	var err error
	switch m.Subject {
	case subjectStatus:
		err = h.Status(m.Data, reply)
	case subjectHealth:
		err = h.Health(m.Data, reply)
	case subjectDroplet:
		err = h.Droplet(m.Data, reply)
	}
	if left := set.tooLarge; left.apps > 0 {
		q.leftOut(m.Subject, set.maxOne, set.replies, left)
	}
	if left := set.tooMany; left.apps > 0 {
		q.server.questions.of(m.Subject).leftOut.Add(uint64(left.apps))
		q.log.Warn("left out of many "+m.Subject, "apps were left out of an answer, because all its replies together would have been too large", func() []any {
			return []any{
				"subject", m.Subject, "bytes", set.bytes + left.whole, "max_bytes", set.maxAll, "apps", set.replies, "left_out", left.apps,
				"hint", "ask for fewer droplets at a time",
			}
		})
	}
	if err != nil {
		q.server.questions.of(m.Subject).unreadable.Add(1)
		q.log.Warn("unreadable "+m.Subject, "a question cannot be read", func() []any {
			return []any{"subject", m.Subject, "bytes", len(m.Data), "error", fmt.Sprintf("%.200s", err)}
		})
	}
	return answered
}

// replySet decides which replies to one question are sent.
type replySet struct {
	maxOne, maxAll int // bytes

	replies           int // with those left out
	bytes             int // sent
	tooLarge, tooMany leftOut
}

// takes reports whether a reply is to be sent. Otherwise it is left out, by itself or because of those before it.
func (s *replySet) takes(droplet string, size int) bool {
	s.replies++
	switch {
	case size > s.maxOne:
		s.tooLarge.add(droplet, size)
		return false
	case s.bytes+size > s.maxAll:
		s.tooMany.add(droplet, size)
		return false
	}
	s.bytes += size
	return true
}
