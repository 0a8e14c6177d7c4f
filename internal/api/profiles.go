package api

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
	"strconv"
	"strings"
)

const profilesPath = "/debug/pprof/"

// maxProfileSeconds is how long a profile may take. An answer must be written within writeTimeout.
const maxProfileSeconds = 50

// profiles serves the profiles of the process for go tool pprof: which code uses the processor, memory and locks. It takes
// one at a time. The command line is left out, because it may have a password.
func (s *Server) profiles(w http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, profilesPath)
	if name != "" && name != "profile" && name != "trace" && runtimepprof.Lookup(name) == nil {
		return notFound("there is no profile %.60q; %s lists them", name, profilesPath)
	}
	if text := r.URL.Query().Get("seconds"); text != "" {
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxProfileSeconds {
			return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf("seconds is %.20q", text), fmt.Sprintf("give a whole number from 1 to %d", maxProfileSeconds))
		}
	}
	select {
	case s.profiling <- struct{}{}:
		defer func() { <-s.profiling }()
	default:
		return problem(http.StatusTooManyRequests, "busy", "a profile of this node is being taken", "try again when it is done")
	}
	w.Header().Set("Cache-Control", "no-store")
	switch name {
	case "profile":
		pprof.Profile(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
	return nil
}
