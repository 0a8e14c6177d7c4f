package reconcile

import (
	"fmt"
	"io"
	"strings"

	"github.com/zeebo/xxh3"

	"hm/commands"
	"hm/raftfsm"
)

// trace is everything that happened in a run. Two runs of one seed have the same.
type trace struct {
	hash *xxh3.Hasher
	text io.Writer // nil: only the hash is wanted
}

// note adds to the trace what happened.
func (cf *simCF) note(what string, numbers ...int) {
	tr := cf.trace
	if tr == nil {
		return
	}
	line := fmt.Appendf(nil, "%d %s %v\n", cf.now, what, numbers)
	_, _ = tr.hash.Write(line)
	if tr.text != nil {
		_, _ = tr.text.Write(line)
	}
}

// noteCommand adds a publish to the trace.
func (cf *simCF) noteCommand(n *simNode, c commands.Command) {
	if cf.trace != nil {
		cf.note(fmt.Sprintf("publish %s %s %s/%d %s %s", c.ID, c.Action, c.App, c.Index, c.Instance, c.Reason), n.id)
	}
}

// noteEntry adds a committed entry to the trace.
func (cf *simCF) noteEntry(e *logEntry) {
	if cf.trace != nil {
		cf.note(fmt.Sprint("commit ", e.hash), int(e.index), int(e.term), int(e.entry.At))
	}
}

// remark adds to the text of the trace what only a reader needs. The hash does not have it.
func (cf *simCF) remark(format string, a ...any) {
	if cf.trace != nil && cf.trace.text != nil {
		fmt.Fprintf(cf.trace.text, "%d "+format+"\n", append([]any{cf.now}, a...)...)
	}
}

// remarkRecord adds a record in words, without the long list of what a hold names.
func (cf *simCF) remarkRecord(r raftfsm.Record) {
	if cf.trace == nil || cf.trace.text == nil {
		return
	}
	if set, is := r.(raftfsm.HoldSet); is {
		set.Hold.Lost = raftfsm.Places(fmt.Sprintf("%d places", set.Hold.Lost.Len()))
		r = set
	}
	cf.remark("  %s", strings.TrimPrefix(fmt.Sprintf("%T %+v", r, r), "raftfsm."))
}
