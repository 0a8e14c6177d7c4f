package heartbeats

import "sync/atomic"

// Reason is why something was refused.
type Reason int

// The reasons.
const (
	RefusedCertificate Reason = iota // the client has no certificate, or one that is not valid here
	RefusedHandshake                 // no TLS connection came about for another reason
	RefusedRequest                   // no whole request arrived, or one that is not for this endpoint
	RefusedTooLarge                  // the body is too large
	RefusedUnreadable                // the body is no heartbeat
	RefusedRate                      // a DEA sends too often
	RefusedBusy                      // this node has no memory or no time left for it
	reasons
)

// String gives the value of the label in /metrics.
func (r Reason) String() string {
	return [reasons]string{"certificate", "handshake", "request", "too-large", "unreadable", "rate", "busy"}[r]
}

// Reasons gives all reasons.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for r := range all {
		all[r] = Reason(r)
	}
	return all
}

type serverStats struct {
	connections atomic.Int64
	refused     [reasons]atomic.Uint64
}

// Connections is how many connections are open.
func (s *Server) Connections() int { return int(s.stats.connections.Load()) }

// Refused is how many connections and heartbeats were refused for a reason.
func (s *Server) Refused(r Reason) uint64 { return s.stats.refused[r].Load() }

// RelayStats counts the heartbeats that this node passed on, once for each peer.
type RelayStats struct {
	Told      uint64 // the peer has it
	Refused   uint64 // the peer could not read it
	Late      uint64 // the peer did not say in time that it has it; it drops what arrives later
	Unreached uint64 // the peer was not connected, or too much waited for it
	Bytes     uint64 // sent to peers
}

type relayStats struct{ told, refused, late, unreached, bytes atomic.Uint64 }

// Stats returns the counters.
func (r *Relay) Stats() RelayStats {
	s := &r.stats
	return RelayStats{Told: s.told.Load(), Refused: s.refused.Load(), Late: s.late.Load(), Unreached: s.unreached.Load(),
		Bytes: s.bytes.Load()}
}
