package component

import (
	"net/http"
	"sync/atomic"

	"hm/internal/api"
)

// requestCodes are the HTTP statuses that a request can get.
var requestCodes = [...]int{http.StatusOK, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed}

// counts are running totals.
type counts struct {
	announced, answered, ignored, failed atomic.Uint64
	requests                             [len(requestCodes)]atomic.Uint64
}

func (c *counts) requested(code int) {
	for i, known := range requestCodes {
		if known == code {
			c.requests[i].Add(1)
		}
	}
}

// Stats gives running totals since the start.
func (c *Component) Stats() api.ComponentStats {
	s := api.ComponentStats{
		Announced: c.counts.announced.Load(), Answered: c.counts.answered.Load(), Ignored: c.counts.ignored.Load(),
		Failed: c.counts.failed.Load(), Requests: make(map[int]uint64, len(requestCodes)),
	}
	for i, code := range requestCodes {
		s.Requests[code] = c.counts.requests[i].Load()
	}
	return s
}
