package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestOptionsNameTheKey(t *testing.T) {
	good := func() Options {
		return Options{ID: "a", DataDir: "/d", Listen: "10.0.0.1:7140", Insecure: true, Peers: []Peer{{"b", "10.0.0.2:7140"}, {"a", "10.0.0.1:7140"}}}
	}
	for _, tt := range []struct {
		name  string
		tweak func(*Options)
		want  []string // each must be in the error; none: it is right
	}{
		{"as it should be", func(*Options) {}, nil},
		{"single node", func(o *Options) { o.Peers = nil }, nil},
		{"wildcard with an address to tell", func(o *Options) { o.Listen, o.Advertise = "0.0.0.0:7140", "10.0.0.1:7140" }, nil},
		{"a name as address", func(o *Options) { o.Peers = nil; o.Listen, o.Advertise = ":7140", "hm-0.internal:7140" }, nil},
		{"no id", func(o *Options) { o.ID = "" }, []string{"node.id"}},
		{"an id with a space", func(o *Options) { o.ID = "a b" }, []string{"node.id", "0x20"}},
		{"a long id", func(o *Options) { o.ID = strings.Repeat("x", 65) }, []string{"node.id", "65"}},
		{"no directory", func(o *Options) { o.DataDir = "" }, []string{"node.data_dir"}},
		{"no port", func(o *Options) { o.Listen = "10.0.0.1" }, []string{"raft.listen", "host:port"}},
		{"port 0", func(o *Options) { o.Listen = "10.0.0.1:0" }, []string{"raft.listen", `"0"`}},
		{"wildcard alone", func(o *Options) { o.Listen = "0.0.0.0:7140" }, []string{"raft.listen", "set raft.advertise"}},
		{"wildcard of IPv6 alone", func(o *Options) { o.Listen = "[::]:7140" }, []string{"raft.listen", "set raft.advertise"}},
		{"wildcard to tell", func(o *Options) { o.Advertise = "0.0.0.0:7140" }, []string{"raft.advertise"}},
		{"not among the peers", func(o *Options) { o.ID = "c" }, []string{"raft.peers", "node.id", `"c"`}},
		{"another address among the peers", func(o *Options) { o.Advertise = "10.0.0.9:7140" }, []string{"raft.peers", "10.0.0.1:7140", "raft.advertise", "10.0.0.9:7140"}},
		{"a peer twice", func(o *Options) { o.Peers = append(o.Peers, Peer{"b", "10.0.0.3:7140"}) }, []string{"raft.peers", "b twice"}},
		{"an address twice", func(o *Options) { o.Peers = append(o.Peers, Peer{"c", "10.0.0.2:7140"}) }, []string{"raft.peers", "b and c", "10.0.0.2:7140"}},
		{"a peer without a port", func(o *Options) { o.Peers = append(o.Peers, Peer{"c", "10.0.0.3"}) }, []string{"raft.peers", "c=10.0.0.3"}},
		{"half a TLS", func(o *Options) { o.TLS.Cert = "c.pem" }, []string{"raft.tls"}},
		{"open to strangers", func(o *Options) { o.Insecure = false }, []string{"raft.listen", "raft.tls.cert", "raft.insecure: true"}},
		{"open to strangers, alone", func(o *Options) { o.Insecure, o.Peers = false, nil }, []string{"raft.listen", "raft.insecure: true"}},
		{"open by what is told", func(o *Options) { o.Insecure, o.Listen, o.Advertise = false, "127.0.0.1:7140", "10.0.0.1:7140" }, []string{"raft.advertise", "raft.insecure: true"}},
		{"peers in the open", func(o *Options) {
			o.Insecure, o.Listen, o.Peers = false, "localhost:7140", []Peer{{"a", "localhost:7140"}, {"b", "10.0.0.2:7140"}}
		}, []string{"raft.peers", "raft.insecure: true"}},
		{"TLS", func(o *Options) { o.Insecure, o.TLS = false, TLS{"c", "k", "a"} }, nil},
		{"loopback", func(o *Options) {
			o.Insecure, o.Listen, o.Peers = false, "[::1]:7140", []Peer{{"a", "[::1]:7140"}, {"b", "localhost:7140"}}
		}, nil},
		{"lease too long", func(o *Options) { o.LeaseTimeout = time.Second }, []string{"raft.lease_timeout", "raft.heartbeat_timeout"}},
		{"election too short", func(o *Options) { o.ElectionTimeout = 300 * time.Millisecond }, []string{"raft.election_timeout", "raft.heartbeat_timeout"}},
		{"negative", func(o *Options) { o.SnapshotInterval = -1 }, []string{"raft.snapshot_interval"}},
		{"everything at once", func(o *Options) { *o = Options{Peers: []Peer{{}}} }, []string{"node.id", "node.data_dir", "raft.listen", "raft.peers"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good()
			tt.tweak(&o)
			got, err := o.complete()
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Peers) == 0 || got.Peers[0].ID != "a" || got.HeartbeatTimeout == 0 || got.Advertise == "" {
					t.Errorf("completed to %+v", got)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
		})
	}
}
