package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"hm/internal/app"
)

// The subjects between the DEAs and the routers.
const (
	SubjectRouterRegister   = "router.register"   // a route that works; sent again and again
	SubjectRouterUnregister = "router.unregister" // a route that has ended
	SubjectRouterStart      = "router.start"      // a router has started, or is back
	SubjectRouterGreet      = "router.greet"      // asks the routers for what router.start says
)

// The limits of a router's messages.
const (
	MaxRouteMessage = 64 << 10 // bytes
	MaxRouteURIs    = 256      // in one message
	maxURI          = 253      // bytes: the longest name of DNS
)

// Route is router.register and router.unregister: requests to these names go to one instance's address.
type Route struct {
	DEA      string            `json:"dea,omitempty"`
	App      string            `json:"app,omitempty"`
	URIs     []string          `json:"uris"`
	Host     string            `json:"host"`
	Port     uint16            `json:"port"`
	Tags     map[string]string `json:"tags"`
	Instance string            `json:"private_instance_id,omitempty"`
	// StaleSeconds is how long the route stays without another message, if that is shorter than the router's own
	// threshold. DEAs do not send it.
	StaleSeconds int `json:"stale_threshold_in_seconds,omitempty"`
}

// ParseRoute decodes a router.register or router.unregister. Its error says what is wrong with it. Names come back in
// lower case.
func ParseRoute(data []byte) (Route, error) {
	if len(data) > MaxRouteMessage {
		return Route{}, fmt.Errorf("route of %d bytes: at most %d are read", len(data), MaxRouteMessage)
	}
	var r Route
	if err := json.Unmarshal(data, &r); err != nil {
		return Route{}, fmt.Errorf("route: %w", err)
	}
	switch {
	case r.Host == "" || strings.ContainsAny(r.Host, "/?#@[] \t\r\n"):
		return Route{}, fmt.Errorf("route: host %.80q is not a name or an address", r.Host)
	case r.Port == 0:
		return Route{}, errors.New("route: port is missing")
	case len(r.URIs) == 0 || len(r.URIs) > MaxRouteURIs:
		return Route{}, fmt.Errorf("route: %d uris, it must be 1 to %d", len(r.URIs), MaxRouteURIs)
	case r.StaleSeconds < 0 || r.StaleSeconds > math.MaxInt32:
		return Route{}, fmt.Errorf("route: stale_threshold_in_seconds is %d, it must be 0 to %d", r.StaleSeconds, math.MaxInt32)
	}
	for i, uri := range r.URIs {
		uri = strings.ToLower(uri) // may have more bytes
		if uri == "" || len(uri) > maxURI || strings.ContainsAny(uri, " \t\r\n") {
			return Route{}, fmt.Errorf("route: uri %.80q is not a name", uri)
		}
		r.URIs[i] = uri
	}
	return r, nil
}

// RouterStart is router.start, and the answer to router.greet. The seconds are whole numbers for a real router; a
// scaled simulation has fractions.
type RouterStart struct {
	ID                     string   `json:"id"`
	Hosts                  []string `json:"hosts"`
	RegisterIntervalSecond float64  `json:"minimumRegisterIntervalInSeconds"`
	PruneThresholdSecond   float64  `json:"pruneThresholdInSeconds"`
}

// ParseRouterStart decodes what a router says, and gives the interval at which it wants each route.
func ParseRouterStart(data []byte) (time.Duration, error) {
	var s RouterStart
	if len(data) > MaxRouteMessage {
		return 0, fmt.Errorf("router.start of %d bytes: at most %d are read", len(data), MaxRouteMessage)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return 0, fmt.Errorf("router.start: %w", err)
	}
	const least, most = 0.001, 86400
	if !(s.RegisterIntervalSecond >= least && s.RegisterIntervalSecond <= most) {
		return 0, fmt.Errorf("router.start: minimumRegisterIntervalInSeconds is %v, it must be %v to %v",
			s.RegisterIntervalSecond, least, most)
	}
	return time.Duration(s.RegisterIntervalSecond * float64(time.Second)), nil
}

// AppURI is the name by which users reach an app.
func AppURI(droplet app.GUID) string { return strings.ToLower(droplet.String()) + ".apps.hm.test" }
