package bus

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// settleTimeout is how long a flush waits at most for the word on what was refused before it.
const settleTimeout = time.Second

// verdicts follows which of the server's refusals on one connection the link has taken in: the client library tells of
// them on a goroutine of its own, after the flush that they belong to may have ended.
type verdicts struct {
	mu   sync.Mutex
	seen error
	news chan struct{} // closed when seen changes; nil: nobody waits
}

func (v *verdicts) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = err
	if v.news != nil {
		close(v.news)
		v.news = nil
	}
}

func (v *verdicts) look() (news <-chan struct{}, seen error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.news == nil {
		v.news = make(chan struct{})
	}
	return v.news, v.seen
}

// settle waits, after a flush, until the link has taken in what the server refused before it confirmed the flush.
func (sp *spell) settle() {
	timeout := time.NewTimer(settleTimeout)
	defer timeout.Stop()
	for {
		news, seen := sp.verdicts.look()
		last := sp.nc.LastError()
		if last == seen || !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		select {
		case <-news:
		case <-sp.gone:
			return
		case <-timeout.C:
			return
		}
	}
}
