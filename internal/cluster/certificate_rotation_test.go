package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// rotating is a cluster whose nodes each have their own files and read them again.
type rotating struct {
	*testCluster
	dirs     []string
	watchers []*tlsfiles.Watcher
}

func startRotating(t *testing.T, ca *tlstest.Authority, tweak func(o *Options)) *rotating {
	r := &rotating{}
	r.testCluster = newCluster(t, 3, func(i int, o *Options) {
		dir, w := t.TempDir(), tlsfiles.NewWatcher(discard())
		r.dirs, r.watchers = append(r.dirs, dir), append(r.watchers, w)
		r.certify(t, i, o.ID, ca)
		tlstest.Install(t, filepath.Join(dir, "ca"), ca.CA)
		o.TLS = TLS{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
		o.TLSFiles = w
		if tweak != nil {
			tweak(o)
		}
	})
	for i := range r.opts {
		r.start(i)
	}
	return r
}

// certify writes a new certificate of a node.
func (r *rotating) certify(t *testing.T, i int, id string, by *tlstest.Authority) {
	cert, key := by.Issue(id, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, id) })
	tlstest.Install(t, filepath.Join(r.dirs[i], "cert"), cert)
	tlstest.Install(t, filepath.Join(r.dirs[i], "key"), key)
}

// wantLinks fails unless each node can open a connection to each other one now.
func (r *rotating) wantLinks(t *testing.T, when string) {
	t.Helper()
	for i, from := range r.nodes {
		for j, to := range r.nodes {
			if i == j {
				continue
			}
			c, err := from.port.dial(to.opts.Listen, patience, carriesStatus)
			if err != nil {
				t.Fatalf("%s: %s cannot reach %s: %v", when, from.opts.ID, to.opts.ID, err)
			}
			// TLS 1.3 tells a client of a refusal only when it reads.
			m := message{From: from.opts.ID, State: stateFollower}
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if err := writeMessage(c, m); err != nil {
				t.Fatalf("%s: %s to %s: %v", when, from.opts.ID, to.opts.ID, err)
			}
			if answer, err := readReply(c); err != nil || answer.Refused != "" {
				t.Fatalf("%s: %s to %s: %+v %v", when, from.opts.ID, to.opts.ID, answer, err)
			}
			_ = c.Close()
		}
	}
}

// TestRotationOfTheAuthority: the CA of a running cluster is replaced in three steps, a node at a time. Every node can
// reach every other one after each write, what is proposed meanwhile is recorded, and the leadership stays where it was.
func TestRotationOfTheAuthority(t *testing.T) {
	before, after := tlstest.New(t), tlstest.New(t)
	// A stall of the machine must not look like a loss of leadership.
	c := startRotating(t, before, func(o *Options) {
		o.HeartbeatTimeout, o.ElectionTimeout, o.LeaseTimeout = 8*time.Second, 8*time.Second, 8*time.Second
	})
	lead := c.leader()
	began := lead.Leadership()
	proposed := 0
	each := func(step string, write func(i int)) {
		t.Helper()
		for i := range c.nodes {
			write(i)
			c.watchers[i].Reload()
			if s := c.watchers[i].States()[0]; s.Err != nil {
				t.Fatalf("%s, %s: %v", step, c.opts[i].ID, s.Err)
			}
			c.propose(dea(proposed))
			proposed++
			c.wantLinks(t, step+", "+c.opts[i].ID)
		}
	}
	each("both authorities are trusted", func(i int) {
		tlstest.Install(t, filepath.Join(c.dirs[i], "ca"), before.CA, after.CA)
	})
	each("the certificates are of the new one", func(i int) { c.certify(t, i, c.opts[i].ID, after) })
	each("only the new one is trusted", func(i int) { tlstest.Install(t, filepath.Join(c.dirs[i], "ca"), after.CA) })
	wantDEAs(t, c.converged(), 0, proposed)
	if now := lead.Leadership(); !now.Leader || now.Term != began.Term {
		t.Errorf("the leadership was %+v and is %+v", began, now)
	}

	// Whoever still has a certificate of the old authority is a stranger now.
	old, key := before.Issue(c.opts[0].ID, func(x *x509.Certificate) { x.DNSNames = append(x.DNSNames, c.opts[0].ID) })
	pair, err := tls.LoadX509KeyPair(old, key)
	if err != nil {
		t.Fatal(err)
	}
	config := c.nodes[0].port.tls.Config().Clone()
	config.Certificates, config.ServerName = []tls.Certificate{pair}, "127.0.0.1"
	refused := c.nodes[1].Stats().Refused
	if conn, err := tls.Dial("tcp", c.opts[1].Listen, config); err == nil {
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	eventually(t, "the old certificate is refused", func() bool { return c.nodes[1].Stats().Refused > refused })
}

// TestStepsInTheWrongOrder: a node does not take files that would cut it off from its peers, and goes on with those that
// it has.
func TestStepsInTheWrongOrder(t *testing.T) {
	before, after := tlstest.New(t), tlstest.New(t)
	c := startRotating(t, before, nil)
	c.propose(dea(0))
	for name, write := range map[string]func(){
		"a certificate of an authority that is not trusted yet": func() { c.certify(t, 0, "hm-0", after) },
		"the old authority taken away too early": func() {
			c.certify(t, 0, "hm-0", before)
			tlstest.Install(t, filepath.Join(c.dirs[0], "ca"), after.CA)
		},
	} {
		write()
		c.watchers[0].Reload()
		if s := c.watchers[0].States()[0]; s.Err == nil {
			t.Errorf("%s: it is taken", name)
		}
		c.wantLinks(t, name)
		tlstest.Install(t, filepath.Join(c.dirs[0], "ca"), before.CA)
	}
	c.propose(dea(1))
	wantDEAs(t, c.converged(), 0, 2)
}
