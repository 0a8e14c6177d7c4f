package api

import (
	"fmt"
	"strings"

	"hm/commands"
	"hm/diff"
	"hm/internal/bus"
	"hm/internal/cluster"
)

// maxRefusalText is the longest text, in bytes, with which a node tells its peers what NATS refuses to it.
const maxRefusalText = 1000

// refusedPost begins the line of an action that the Cloud Controller refuses over HTTP.
const refusedPost = "post"

// RefusalText gives the text of refusals for the peers of a node: a line for each of NATS and of the Cloud Controller, as
// many as fit. cc may be nil.
func RefusalText(list []bus.Refusal, cc *CC) string {
	var lines []string
	for _, r := range list {
		lines = append(lines, r.String())
	}
	if cc != nil {
		for _, r := range cc.Refused {
			lines = append(lines, refusedPost+" "+r.Action+": "+r.Error)
		}
	}
	var out strings.Builder
	for _, line := range lines {
		line = strings.ReplaceAll(line, "\n", " ")
		if out.Len()+len(line)+1 > maxRefusalText {
			break
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(line)
	}
	return out.String()
}

// cc gives what the node knows of the Cloud Controller; nil if commands go over NATS.
func (s *Server) cc() *CC {
	if s.opts.CC == nil {
		return nil
	}
	return s.opts.CC()
}

// refusalText gives what is refused to this node.
func (s *Server) refusalText() string { return RefusalText(s.opts.Link.Refusals(), s.cc()) }

// refusedCommand says why commands of an action are not taken.
type refusedCommand struct {
	why   string
	waits string // what they wait for
}

func refusals(list []bus.Refusal) []NATSRefusal {
	out := make([]NATSRefusal, 0, len(list))
	for _, r := range list {
		out = append(out, NATSRefusal{Action: r.Action, Subject: r.Subject, Error: r.Error, Since: stamp(r.Since), Last: stamp(r.Last), Count: r.Count})
	}
	return out
}

// refusedCommands gives, by action, what NATS or the Cloud Controller refuses to the node that leads: this one, or a peer
// by its own word.
func (s *Server) refusedCommands(lead cluster.Leadership) map[commands.Action]refusedCommand {
	told := ""
	if lead.LeaderID == s.opts.ID {
		told = s.refusalText()
	} else {
		for _, m := range s.opts.Node.Members() {
			if m.ID == lead.LeaderID && m.HasInfo {
				told = m.Info.NATSRefused
			}
		}
	}
	if told == "" {
		return nil
	}
	refused := map[commands.Action]refusedCommand{}
	for _, action := range []commands.Action{commands.Start, commands.Stop} {
		subject := s.opts.Subject(action)
		for line := range strings.SplitSeq(told, "\n") {
			if words, ok := strings.CutPrefix(line, bus.RefusedPublish+" "+subject+": "); ok {
				refused[action] = refusedCommand{fmt.Sprintf("nats refuses %s: %s", subject, words), "NATS to accept its subject"}
			}
			if words, ok := strings.CutPrefix(line, refusedPost+" "+action.String()+": "); ok {
				refused[action] = refusedCommand{words, "the Cloud Controller to accept it"}
			}
		}
	}
	return refused
}

// refusal says why a claimed command was not published; empty if it was, as far as this node knows.
func (n snapshot) refusal(c commands.Command) string {
	if c.State != commands.Claimed {
		return ""
	}
	return n.refused()[c.Action].why
}

// toldOf gives what is known of the command that a finding waits for, beside that it was sent.
func (n snapshot) toldOf(f *diff.Finding) string {
	if f.Why != diff.WhySent || n.details == nil {
		return ""
	}
	return n.details.of(f.Command)
}

// refusalOf gives the refusal of the command that a finding waits for.
func (n snapshot) refusalOf(f *diff.Finding) string {
	if f.Why != diff.WhySent {
		return ""
	}
	if c, ok := n.view.Command(f.Command); ok {
		return n.refusal(c)
	}
	return ""
}
