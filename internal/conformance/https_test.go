package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/tlsfiles/tlstest"
)

const aboutHTTPS = "heartbeats over HTTPS"

// playHTTPS plays DEAs of 2016 that post their heartbeats with certificates (N05, N06).
func playHTTPS(t *testing.T, srv *natsServer) {
	authority := tlstest.New(t)
	cert, key := authority.Issue("conformance", nil) // of both sides
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	address := fmt.Sprintf("127.0.0.1:%d", bustest.FreePorts(t, 1)[0])
	w := newWorld(t, srv, "https", worldSetup{
		sets: []string{
			"desired.bulk.username=" + bulkUser, "desired.bulk.password=" + bulkPassword,
			"heartbeats.listen=" + address, "heartbeats.tls.cert=" + cert, "heartbeats.tls.key=" + key, "heartbeats.tls.client_ca=" + authority.CA,
		},
		before: func(w *world) { w.fill(10) },
	})
	w.awaitGate(t)
	client := func(certificates ...tls.Certificate) *http.Client { // the limits of a DEA (N06)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Timeout: 15 * time.Second, Transport: transport}
	}
	dea := client(pair)
	s := newScenario(t, w, aboutHTTPS, DEA2016, 2)
	post := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := dea.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	c := NewDEA(w.nc, DEA2016) // it never speaks over NATS
	c.Edit(func(d *DEA) {
		d.silent = true
		d.instances = []*Instance{{s.row.GUID, s.row.Version, NewInstanceGUID(), 2, "RUNNING", float64(time.Now().Unix())}}
	})
	s.update(func(r *Row) { r.Instances = 3 })
	for range 25 { // more than a time to live
		status, answer := post(http.MethodPost, "/dea/heartbeat", c.Heartbeat())
		s.Equal("N05", "a heartbeat: status", status, http.StatusAccepted)
		s.Equal("N05", "a heartbeat: body", answer, "")
		s.w.rest(t, 1)
	}
	s.recorded("N05", "what was posted", s.a, c)
	s.want(s.commands())
	for what, body := range map[string]string{"nothing": "", "no JSON": "x", "half an object": `{"droplets":[`} {
		status, answer := post(http.MethodPost, "/dea/heartbeat", body)
		s.Equal("N05", what+": status", status, http.StatusBadRequest)
		s.Equal("N05", what+": body", answer, "")
	}
	for _, r := range [][2]string{{http.MethodGet, "/dea/heartbeat"}, {http.MethodPut, "/dea/heartbeat"}, {http.MethodPost, "/"}, {http.MethodPost, "/dea"}, {http.MethodGet, "/v1/status"}} {
		status, _ := post(r[0], r[1], c.Heartbeat())
		s.That("N05", r[0]+" "+r[1], status == http.StatusNotFound || status == http.StatusMethodNotAllowed, "got %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/dea/heartbeat", strings.NewReader(c.Heartbeat()))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client().Do(req)
	if err == nil {
		resp.Body.Close()
	}
	s.That("N05", "a DEA without a certificate", err != nil, "is let in")
}
