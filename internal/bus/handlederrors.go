package bus

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusalTimeout bounds how long a flush waits for the refusals before it.
const refusalTimeout = time.Second

// handledErrors is which of the server's refusals on one connection the link has handled. The client library reports them
// on a goroutine of its own, perhaps after the flush that follows them has ended.
type handledErrors struct {
	mu      sync.Mutex
	newest  error
	changed chan struct{} // closed when newest changes; nil: nobody waits
}

func (v *handledErrors) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest = err
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

func (v *handledErrors) get() (changed <-chan struct{}, newest error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.changed, v.newest
}

// awaitRefusals waits, after a flush, until the link has handled what the server refused before it confirmed the flush.
func (ses *session) awaitRefusals() {
	timeout := time.NewTimer(refusalTimeout)
	defer timeout.Stop()
	for {
		changed, newest := ses.handled.get()
		last := ses.nc.LastError()
		if last == newest || !errors.Is(last, nats.ErrPermissionViolation) {
			return
		}
		select {
		case <-changed:
		case <-ses.gone:
			return
		case <-timeout.C:
			return
		}
	}
}
