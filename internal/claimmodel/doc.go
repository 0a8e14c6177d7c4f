// Package claimmodel is a model of the claim protocol and of failover, small enough to look at every interleaving: Check
// visits all states that can be reached within Bounds, breadth first, and says which property does not hold and how it
// came to that, with the fewest steps.
//
// The model has one index of one app, its instances and its commands, two or three nodes, and time in ticks. It shares
// no code with hm. Each step of the model is a step of the code:
//
//	an election         internal/cluster/leadership.go: a leader has applied everything that was committed before its
//	                    term. The leader before may still believe that it leads.
//	plans               internal/reconcile/act.go and diff: schedule a start of an index without an instance, schedule stops
//	                    of the surplus, end commands that were confirmed, expired or are no longer needed
//	decides             internal/reconcile/claim.go: verify a pending command again, note the basis and the time, propose
//	                    the claim
//	the claim commits   raftfsm/kind_command.go, (*State).claim: the command is pending, the claim's term is the entry's,
//	                    the basis is unchanged. The leader may get no answer (internal/cluster/outcome.go).
//	the proposal is lost  the node no longer leads in raft's latest term: internal/cluster/propose.go
//	verifies            internal/reconcile/publish.go, send: a majority confirms that the node leads in the claim's term
//	publishes           the same: the claim is younger than the lease, the node leads as far as it knows, its link had
//	                    no gap since the decision; then the command is on the wire. These checks and the publish are
//	                    one step of the model: internal/bus/publish.go checks the epoch and the time again.
//	records             the same: Sent, or Abandoned for a command that was certainly not sent
//	hears, reads        internal/reconcile/take.go and reads.go: an entry with the present instances, or a changed app
//	a message arrives   the Cloud Controller and the DEA obey late, or never
//
// A node that takes no step while time passes is a node that stalls: between any two steps, for any time.
//
// What the model leaves out: more than one index (claims of different indices do not touch each other), the throttle,
// holds and the reasons of the gate besides the leadership and the link, crashes with their back-off, evacuations, and
// the time that a start is delayed. It allows more elections than raft does: a new leader may appear at once.
package claimmodel
