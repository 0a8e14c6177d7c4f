package limits

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// HostPort splits an address that a listener can have: "host:port", where the host may be empty and the port may be 0.
// An error completes the sentence "raft.listen ...".
func HostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New("is not of the form host:port")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("has the port %.20q: a number from 0 to 65535 is needed", text)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/@?#", r) }) {
		return "", 0, fmt.Errorf("has the host %.60q, which contains a character that no host has", host)
	}
	return host, int(n), nil
}

// Reachable splits an address that others can connect to: "host:port" with a host that is not a wildcard, and a port
// that is not 0. An error completes the sentence "raft.advertise ...".
func Reachable(address string) (host string, port int, err error) {
	host, port, err = HostPort(address)
	switch {
	case err != nil:
		return "", 0, err
	case port == 0:
		return "", 0, errors.New(`has the port "0": a number from 1 to 65535 is needed`)
	case Wildcard(host):
		return "", 0, errors.New("is a wildcard: others cannot connect to it")
	}
	return host, port, nil
}

// Wildcard reports whether a listener on this host accepts connections to every address of the machine.
func Wildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

// Loopback reports whether only this machine can reach a listener on address. It is false for every name but localhost,
// because what a name resolves to is not known here.
func Loopback(address string) bool {
	host, _, err := HostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

const percentEncode = "a special character in a user or password must be percent-encoded"

// defaultNATSPort is the port of a NATS server whose address has none.
const defaultNATSPort = "4222"

// NATSServer parses the address of a NATS server: nats://host:port or tls://host:port, where scheme and port may be
// left out, with a user, a password or a token before the host. The URL has a scheme and a port and no path. An error
// never quotes the address, which may contain a password; it completes the sentence "number 2 of nats.servers ...".
func NATSServer(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("is empty")
	}
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL like nats://host:4222; " + percentEncode)
	}
	switch {
	case u.Scheme != "nats" && u.Scheme != "tls":
		return nil, errors.New("must begin with nats:// or tls://")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has something after host and port; " + percentEncode)
	case u.Hostname() == "" || strings.ContainsAny(u.Host, ", "):
		return nil, errors.New("must name one host, like nats://host:4222")
	}
	port := u.Port()
	if port == "" {
		port = defaultNATSPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("has the port %.20q: a number from 1 to 65535 is needed", port)
	}
	u.Host, u.Path = net.JoinHostPort(u.Hostname(), port), ""
	return u, nil
}
