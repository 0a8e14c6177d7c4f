package heartbeats

import (
	"net"
	"sync"
	"time"
)

// A DEA sends a heartbeat in each period, and one more for each instance that begins to run (N04), so a DEA that takes
// over the instances of another sends hundreds at once.
const (
	rateBurst  = 300 // heartbeats of one DEA at once
	ratePeriod = 100 // heartbeats of one DEA in a period, in the long run
	maxRates   = 16_384
)

// rates bounds how often each DEA may post. It knows the DEAs that posted last: at most twice maxRates of them.
type rates struct {
	refill float64 // a second

	mu         sync.Mutex
	young, old map[string]bucket
}

// bucket has what a DEA may still send.
type bucket struct {
	tokens float64
	at     time.Time // when it had them
}

func newRates(period time.Duration) *rates {
	return &rates{refill: ratePeriod / period.Seconds(), young: map[string]bucket{}}
}

// allow reports whether key may send now, and counts it.
func (r *rates) allow(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.young[key]
	if !known {
		if b, known = r.old[key]; !known {
			b = bucket{rateBurst, now}
		}
		if len(r.young) >= maxRates {
			r.young, r.old = map[string]bucket{}, r.young
		}
	}
	b.tokens, b.at = min(rateBurst, b.tokens+now.Sub(b.at).Seconds()*r.refill), now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	r.young[key] = b
	return allowed
}

// rateKey is who a heartbeat counts for: the DEA that it names, or else the host that it comes from.
func rateKey(dea, remote string) string {
	if dea != "" {
		return "dea " + dea
	}
	host, _, _ := net.SplitHostPort(remote)
	return "host " + host
}
