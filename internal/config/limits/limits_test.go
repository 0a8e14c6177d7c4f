package limits

import (
	"strings"
	"testing"
)

func TestNodeID(t *testing.T) {
	for id, ok := range map[string]bool{
		"hm-0": true, "A_b.c": true, strings.Repeat("a", MaxNodeID): true,
		"": false, ".": false, "..": false, "a b": false, "a=b": false, "ü": false, strings.Repeat("a", MaxNodeID+1): false,
	} {
		if err := NodeID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		address                     string
		listen, reachable, loopback bool
	}{
		{"127.0.0.1:7140", true, true, true},
		{"127.0.0.1:0", true, false, true},
		{"LOCALHOST:1", true, true, true},
		{"[::1]:1", true, true, true},
		{"[::ffff:127.0.0.1]:1", true, true, true},
		{"10.0.0.1:65535", true, true, false},
		{"hm.internal:1", true, true, false},
		{":7140", true, false, false},
		{"0.0.0.0:7140", true, false, false},
		{"[::]:7140", true, false, false},
		{"10.0.0.1", false, false, false},
		{"10.0.0.1:65536", false, false, false},
		{"10.0.0.1:http", false, false, false},
		{"u@h:1", false, false, false},
		{"a b:1", false, false, false},
	} {
		_, _, listen := HostPort(c.address)
		_, _, reachable := Reachable(c.address)
		if (listen == nil) != c.listen || (reachable == nil) != c.reachable || Loopback(c.address) != c.loopback {
			t.Errorf("%s: listen %v, reachable %v, loopback %v", c.address, listen, reachable, Loopback(c.address))
		}
	}
}

func TestNATSServer(t *testing.T) {
	for text, want := range map[string]string{ // want empty: refused
		"h": "nats://h:4222", " h:1 ": "nats://h:1", "tls://[::1]/": "tls://[::1]:4222", "nats://u:p%40@h": "nats://u:p%40@h:4222",
		"": "", "ws://h": "", "nats://h:0": "", "nats://h:65536": "", "nats://a,b": "", "nats://:1": "", "nats://h/x": "",
		"nats://u:secret#x@h": "", "nats://u:%secret@h": "",
	} {
		u, err := NATSServer(text)
		switch {
		case err != nil && (want != "" || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: %v", text, err)
		case err == nil && u.String() != want:
			t.Errorf("%s: %s, want %q", text, u, want)
		}
	}
}
