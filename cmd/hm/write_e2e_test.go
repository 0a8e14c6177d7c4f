package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// TestE2EWritesThroughEveryNode runs three nodes like those in the README's sample: with raft.tls, and with the API on
// loopback, where the peers cannot reach it. Here all nodes share one machine. So each tells its peers an API address
// on which nobody listens, as nobody listens on another machine's 127.0.0.1:5155. A person who asks a follower to pause
// or to resume must succeed all the same.
func TestE2EWritesThroughEveryNode(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	cert, key := raftCertificate(t)
	unreachable := bustest.FreePorts(t, 1)[0]
	f := newFoundry(t, e2ePeriod, []string{"--apps", "5", "--deas", "3"}, fmt.Sprintf("api.advertise=127.0.0.1:%d", unreachable),
		"raft.tls.cert="+cert, "raft.tls.key="+key, "raft.tls.ca="+cert,
		"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s") // a loaded machine must not change the leader by itself
	f.awaitOpen("first")
	hm := func(node int, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append(args, "--addr", f.apis[node], "--timeout", "20s")
		if code := newCLI(nil, &out, &errs).run(t.Context(), args); code != 0 {
			t.Fatalf("hm-%d: hm %v: exit code %d: %s%s", node, args, code, &out, &errs)
		}
	}
	awaitHolds := func(what string, n int) {
		t.Helper()
		f.await(what, 10*time.Second, func() bool {
			for node := range f.apis {
				if s, err := f.status(node); err != nil || len(s.Holds) != n {
					return false
				}
			}
			return true
		})
	}
	for i := range f.apis {
		hm(i, "pause", "--reason", "test")
		awaitHolds("every node is paused", 1)
		hm(i, "resume")
		awaitHolds("every node has resumed", 0)
		hm(i, "hold", "deploy", "--reason", "test")
		awaitHolds("every node has the hold", 1)
		hm((i+1)%3, "release", "deploy")
		awaitHolds("the hold is released on every node", 0)
	}
	f.awaitOpen("in the end")
}

// raftCertificate makes a certificate that names all three nodes and is its own authority.
func raftCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hm"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"hm-0", "hm-1", "hm-2"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
