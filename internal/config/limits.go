package config

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"hm/internal/config/limits"
)

// limit says which values one key takes, whatever the values of other keys are. want completes the sentence "want ...";
// the documentation shows it as well.
type limit struct {
	want string
	ok   func(v any) bool
}

// With these bounds no product of a count and the heartbeat period overflows a duration.
const (
	maxBeats  = 10_000
	maxPeriod = 10 * time.Minute
)

func wholeFrom(lo, hi int) limit {
	return limit{fmt.Sprintf("a whole number from %d to %d", lo, hi), func(v any) bool {
		n := v.(int)
		return lo <= n && n <= hi
	}}
}

func yesNo() limit { return limit{"true or false", func(any) bool { return true }} }

func lasting(lo, hi time.Duration) limit {
	return limit{fmt.Sprintf("a duration from %s to %s", formatDuration(lo), formatDuration(hi)), func(v any) bool {
		d := v.(time.Duration)
		return lo <= d && d <= hi
	}}
}

func oneOf(words ...string) limit {
	return limit{"one of " + strings.Join(words, ", "), func(v any) bool { return slices.Contains(words, v.(string)) }}
}

func share() limit {
	return limit{"a number from 0 to 1", func(v any) bool {
		f := v.(float64)
		return !math.IsNaN(f) && 0 <= f && f <= 1
	}}
}

// either also accepts the empty text.
func either(l limit) limit {
	return limit{l.want + ", or nothing", func(v any) bool { return v.(string) == "" || l.ok(v) }}
}

// maxText bounds every text, in bytes. A longer text is a mistake, such as a certificate in place of its file name.
const maxText = 4096

func text(want string) limit {
	return limit{want, func(v any) bool { return printable(v.(string)) }}
}

// textUpTo is text of at most n bytes.
func textUpTo(n int, want string) limit {
	return limit{fmt.Sprintf("%s, at most %d bytes", want, n), func(v any) bool {
		return len(v.(string)) <= n && printable(v.(string))
	}}
}

// lines accepts text with several lines.
func lines(want string) limit {
	return limit{want, func(v any) bool {
		return printable(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(v.(string)))
	}}
}

func printable(s string) bool {
	if len(s) > maxText {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func nonEmpty(want string) limit {
	return limit{want, func(v any) bool { s := v.(string); return strings.TrimSpace(s) != "" && printable(s) }}
}

// nodeID accepts the id of a node.
func nodeID() limit {
	return limit{fmt.Sprintf("1 to %d letters, digits, '-', '_' and '.'", limits.MaxNodeID), func(v any) bool {
		return limits.NodeID(v.(string)) == nil
	}}
}

// listenAddress accepts host:port. The host may be empty, which stands for all addresses of the machine; the port may
// be 0, which stands for any free port.
func listenAddress() limit {
	return limit{"host:port, such as 127.0.0.1:5155", func(v any) bool {
		_, _, err := limits.HostPort(v.(string))
		return err == nil
	}}
}

// fixedListenAddress accepts host:port with a port that others can be told in advance.
func fixedListenAddress() limit {
	return limit{"host:port with a fixed port, such as 127.0.0.1:7140", func(v any) bool {
		_, port, err := limits.HostPort(v.(string))
		return err == nil && port != 0
	}}
}

// reachableAddress accepts a host:port that others can connect to.
func reachableAddress() limit {
	return limit{"host:port that other nodes can connect to", func(v any) bool {
		_, _, err := limits.Reachable(v.(string))
		return err == nil
	}}
}

func httpURL() limit {
	return limit{"an http:// or https:// URL with a host, and without user, query or fragment", func(v any) bool {
		u, err := url.Parse(v.(string))
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
			u.User == nil && u.RawQuery == "" && u.Fragment == "" && printable(v.(string))
	}}
}

// The shortest and the longest bearer token, in bytes.
const (
	minToken = 16
	maxToken = 1024
)

// bearerToken accepts what the header Authorization can carry (RFC 6750) and nobody guesses.
func bearerToken() limit {
	return limit{fmt.Sprintf("%d to %d letters, digits and -._~+/=, such as openssl rand -hex 32 prints, or nothing", minToken, maxToken), func(v any) bool {
		s := v.(string)
		return s == "" || minToken <= len(s) && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~+/=", r))
		})
	}}
}

// maxCertificateNames bounds the names that have a role.
const maxCertificateNames = 1000

func certificateNames() limit {
	return limit{"names, such as ops.example.com", func(v any) bool {
		list := v.([]string)
		return len(list) <= maxCertificateNames && !slices.ContainsFunc(list, func(s string) bool {
			return strings.TrimSpace(s) == "" || !printable(s)
		})
	}}
}

// maxFilterEntries bounds each list of a filter. Much longer lists do not fit a statement of every database.
const maxFilterEntries = 1000

// maxFilterEntry is the length in bytes of the Cloud Controller's columns.
const maxFilterEntry = 255

func filterEntries(of string) limit {
	return limit{fmt.Sprintf("names or guids of %s, at most %d", of, maxFilterEntries), func(v any) bool {
		list := v.([]string)
		return len(list) <= maxFilterEntries && !slices.ContainsFunc(list, func(s string) bool {
			return strings.TrimSpace(s) == "" || len(s) > maxFilterEntry || !printable(s)
		})
	}}
}

// maxServers bounds the list of NATS servers.
const maxServers = 64

func natsServers() limit {
	const want = "one or more NATS addresses, such as nats://10.0.0.1:4222 or tls://nats.internal:4222"
	return limit{want, func(v any) bool {
		list := v.([]string)
		return len(list) > 0 && len(list) <= maxServers && !slices.ContainsFunc(list, func(s string) bool {
			_, err := limits.NATSServer(s)
			return err != nil || !printable(s)
		})
	}}
}

func peers() limit {
	const want = `a list of id=host:port, one for each of the 1, 3 or 5 nodes, such as "hm-0=10.0.0.1:7140"`
	return limit{want, func(v any) bool {
		for _, s := range v.([]string) {
			if _, err := parsePeer(s); err != nil {
				return false
			}
		}
		return true
	}}
}

// partition accepts one token of a NATS subject.
func partition() limit {
	return limit{"1 to 64 letters, digits, '-' and '_'", func(v any) bool {
		s := v.(string)
		return limits.NodeID(s) == nil && !strings.Contains(s, ".")
	}}
}
