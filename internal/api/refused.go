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

// RefusalText gives the text of refusals for the peers of a node: a line for each, as many as fit.
func RefusalText(list []bus.Refusal) string {
	var out strings.Builder
	for _, r := range list {
		line := strings.ReplaceAll(r.String(), "\n", " ")
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

func refusals(list []bus.Refusal) []NATSRefusal {
	out := make([]NATSRefusal, 0, len(list))
	for _, r := range list {
		out = append(out, NATSRefusal{Action: r.Action, Subject: r.Subject, Error: r.Error, Since: stamp(r.Since), Last: stamp(r.Last), Count: r.Count})
	}
	return out
}

// refusedCommands gives, by action, what nats refuses to the node that leads: this one, or a peer by its own word.
func (s *Server) refusedCommands(lead cluster.Leadership) map[commands.Action]string {
	told := ""
	if lead.LeaderID == s.opts.ID {
		told = RefusalText(s.opts.Link.Refusals())
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
	refused := map[commands.Action]string{}
	for _, action := range []commands.Action{commands.Start, commands.Stop} {
		subject := s.opts.Subject(action)
		for line := range strings.SplitSeq(told, "\n") {
			if words, ok := strings.CutPrefix(line, bus.RefusedPublish+" "+subject+": "); ok {
				refused[action] = fmt.Sprintf("nats refuses %s: %s", subject, words)
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
	return n.refused()[c.Action]
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
