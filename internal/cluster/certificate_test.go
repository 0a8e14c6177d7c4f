package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestNamesInACertificate(t *testing.T) {
	apart := []Peer{{"a", "10.0.0.1:1"}, {"b", "hm-b.internal:1"}, {"c", "[fd00::1]:1"}}
	shared := []Peer{{"a", "10.0.0.1:1"}, {"b", "10.0.0.1:2"}, {"c", "10.0.0.3:1"}}
	cert := func(names ...string) *x509.Certificate {
		c := &x509.Certificate{}
		c.Subject.CommonName = "c"
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		return c
	}
	for _, tt := range []struct {
		peers []Peer
		names []string
		want  string
	}{
		{apart, nil, ""},
		{apart, []string{"10.0.0.1"}, "a"},
		{apart, []string{"::ffff:10.0.0.1"}, "a"},
		{apart, []string{"fd00::1"}, "c"},
		{apart, []string{"HM-b.internal"}, "b"},
		{apart, []string{"*.internal"}, ""},
		{apart, []string{"b"}, "b"},
		{apart, []string{"A", "10.0.0.9"}, "a"},
		{apart, []string{"10.0.0.1", "b"}, "a b"},
		{apart, []string{"internal", "10.0.0.10", "fd00::2"}, ""},
		{shared, []string{"10.0.0.1"}, ""},
		{shared, []string{"10.0.0.1", "b"}, "b"},
		{shared, []string{"10.0.0.3"}, "c"},
	} {
		s := &clusterPort{}
		s.setPeers(tt.peers)
		if got := strings.Join(s.named(cert(tt.names...)), " "); got != tt.want {
			t.Errorf("a certificate of %q names %q among %v, want %q", tt.names, got, tt.peers, tt.want)
		}
	}
	s := &clusterPort{}
	s.setPeers(apart)
	if err := s.speaksFor(cert("10.0.0.1"), ""); err == nil {
		t.Error("a certificate counts for a node without an id")
	}
	if err := s.speaksFor(cert("d"), "d"); err != nil { // a member of whom this node does not know yet
		t.Error(err)
	}
	if err := s.speaksFor(cert("10.0.0.1", "x"), "b"); err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("the error is %v, want one with the missing name and with the names of the certificate", err)
	}
}

// dialAs opens a connection to a node with a member's certificate.
func dialAs(t *testing.T, ca *authority, own TLS, address string) *tls.Conn {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// One member's certificate is not accepted for another, neither in a message nor in a request to raft.
func TestCertificateCountsOnlyForItsMember(t *testing.T) {
	ca := newAuthority(t)
	c := startCluster(t, 3, func(_ int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) })
	c.propose(dea(1))
	c.converged()
	n := c.nodes[1]
	say := func(id string) (reply, error) {
		conn := dialAs(t, ca, c.opts[0].TLS, n.opts.Listen)
		if _, err := conn.Write(append([]byte{carriesStatus}, frame(fmt.Sprintf(`{"from":%q,"state":"follower"}`, id))...)); err != nil {
			t.Fatal(err)
		}
		return readReply(conn)
	}
	if r, err := say("hm-0"); err != nil || r.Refused != "" {
		t.Errorf("the message of a member itself is answered with %+v, %v", r, err)
	}
	if r, err := say("hm-2"); err != nil || !strings.Contains(r.Refused, `does not name the node "hm-2"`) || r.Stranger {
		t.Errorf("a message in the name of another member is answered with %+v, %v", r, err)
	}

	ask := func(id string) error { // a pre-vote of a term long gone, which changes nothing
		conn := dialAs(t, ca, c.opts[0].TLS, n.opts.Listen)
		request := "\x04\x83\xa2ID" + string([]byte{0xa0 + byte(len(id))}) + id + "\xafProtocolVersion\x03\xa4Term\x00"
		if _, err := conn.Write(append([]byte{carriesRaft}, request...)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		return err
	}
	if err := ask("hm-0"); err != nil {
		t.Errorf("a request to raft of a member itself: %v", err)
	}
	before := n.Stats().Refused
	if err := ask("hm-2"); err == nil {
		t.Error("a request to raft in the name of another member is answered")
	}
	eventually(t, "the refusal is counted", func() bool { return n.Stats().Refused > before })
	c.propose(dea(2))
	c.converged()
}

// A node whose certificate names another node reaches nobody, and nobody reaches it.
func TestNodeWithTheCertificateOfAnother(t *testing.T) {
	ca := newAuthority(t)
	var lines logLines
	c := startCluster(t, 3, func(i int, o *Options) {
		o.Logger = lines.logger()
		if o.TLS = ca.issue(o.ID, o.ID); i == 2 {
			o.TLS = ca.issue("another", "hm-0")
		}
	})
	c.propose(dea(1))
	lead := c.leader()
	if lead.opts.ID == "hm-2" {
		t.Fatal("the node with the wrong certificate leads")
	}
	eventually(t, "both sides log it", func() bool {
		return lines.count(`does not name the node \"hm-2\"`) > 0 && lines.count("cannot send this node's status to a peer") > 0
	})
	if m := member(lead, "hm-2"); m.Healthy || !m.LastContact.IsZero() {
		t.Errorf("the leader shows it as %+v", m)
	}
	if index := c.nodes[2].View().Index(); index != 0 {
		t.Errorf("it has applied entries up to %d", index)
	}
}

// A member that is added is recognised by its certificate, and one whose certificate names another is not added.
func TestAddedMemberWithTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	c := startCluster(t, 1, func(_ int, o *Options) { o.TLS = ca.issue(o.ID, o.ID) })
	c.propose(dea(1))
	wrong := c.newcomer()
	c.opts[wrong].TLS = ca.issue("another", "another")
	c.start(wrong)
	err := c.asLeader(func(ctx context.Context, l *Node) error {
		_, err := l.Add(ctx, c.opts[wrong].ID, c.opts[wrong].Listen, false)
		return err
	})
	wantRefusal(t, err, true, `does not name the node "hm-1"`)
	c.close(wrong)
	c.opts[wrong].TLS = ca.issue("hm-1", "hm-1")
	c.start(wrong)
	c.add(wrong)
	c.propose(dea(2))
	wantDEAs(t, c.converged(), 1, 2)
}
