package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

// permissionsFile is the configuration that contrib offers for a NATS server.
const permissionsFile = "../../contrib/nats/hm.conf"

// guarded starts a NATS server with the users of permissionsFile. The password of each is its name with "-pw".
func guarded(t *testing.T) (*bustest.Server, []*server.User) {
	t.Helper()
	for _, user := range []string{"HM", "CC", "DEA", "OTHERS"} {
		t.Setenv(user+"_NATS_PASSWORD", strings.ToLower(user)+"-pw")
	}
	o, err := server.ProcessConfigFile(permissionsFile)
	if err != nil {
		t.Fatal(err)
	}
	return bustest.Run(t, func(r *server.Options) { r.Users = o.Users }), o.Users
}

// TestNATSPermissions: nodes work with the permissions of permissionsFile: they correct drift, measure their lag, get the
// credentials of the bulk API and answer the Cloud Controller, and the server refuses nothing to them. They use each of the permissions.
// What only one component may say, no other one can.
func TestNATSPermissions(t *testing.T) {
	takesSeconds(t)
	nats, users := guarded(t)
	s := startShape(t, clusterSetup{
		period: 200 * time.Millisecond, natsURL: func(int) string { return nats.URL() },
		sets: []string{"nats.username=hm", "nats.password=hm-pw"},
		sim: func(o *sim.Options) {
			o.NATS = []string{nats.URL()}
			o.NATSLogin = func(connection string) (string, string) {
				if strings.HasPrefix(connection, "hm-sim DEAs") {
					return "dea", "dea-pw"
				}
				return "cc", "cc-pw"
			}
		},
	}, nats)
	s.awaitConverged()
	s.correctsDrift()
	app := s.sim.Apps(0, 1)[0]
	if _, err := s.sim.CC.StopApp(app.GUID); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "a stop was sent", func() bool { return nats.Published("hm9000.stop") > 0 })
	cc := login(t, nats, "cc")
	for _, subject := range []string{"app.state", "healthmanager.status"} {
		body := `{"droplet":"` + s.sim.Apps(0, 2)[1].GUID.String() + `","version":"` + s.sim.Apps(0, 2)[1].Version.String() + `","include":[],"state":"FLAPPING"}`
		bustest.Until(t, "the Cloud Controller gets an answer on "+subject, func() bool {
			_, err := cc.Request(subject, []byte(body), time.Second)
			return err == nil
		})
	}
	for i := range s.nodes {
		st := s.natsStatus(i)
		if len(st.Refused) != 0 || st.LagRefused != "" || st.Lag == nil {
			t.Errorf("node %d: refused %+v %s, lag %v", i, st.Refused, st.LagRefused, st.Lag)
		}
	}
	wantUsed(t, nats, users[slices.IndexFunc(users, func(u *server.User) bool { return u.Username == "hm" })].Permissions)

	for _, tt := range []struct {
		user, subject string
		allowed       bool
	}{
		{"dea", "dea.heartbeat", true}, {"dea", "droplet.exited", true}, {"dea", "router.register", true},
		{"dea", "hm9000.stop", false}, {"dea", "health.start", false}, {"dea", "droplet.updated", false}, {"dea", "hm.app.state.ready", false},
		{"cc", "droplet.updated", true}, {"cc", "app.state.bulk", true}, {"cc", "dea.next.start", true},
		{"cc", "dea.heartbeat", false}, {"cc", "hm9000.start", false}, {"cc", "hm.hm-0.marker", false},
		{"others", "router.register", true},
		{"others", "dea.heartbeat", false}, {"others", "droplet.exited", false}, {"others", "dea.next.stop", false},
		{"others", "hm9000.stop", false}, {"others", "app.state", false},
		{"hm", "dea.heartbeat", false}, {"hm", "droplet.exited", false}, {"hm", "droplet.updated", false}, {"hm", "dea.next.stop", false},
		{"hm", "router.register", false},
	} {
		nc := login(t, nats, tt.user)
		if err := nc.Publish(tt.subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		wantAllowed(t, nc, tt.user+" publishes on "+tt.subject, tt.allowed)
	}
	for _, tt := range []struct {
		user, subject string
		allowed       bool
	}{
		{"cc", "cloudcontroller.bulk.credentials.default", true}, {"cc", "hm9000.stop", true},
		{"dea", "cloudcontroller.bulk.credentials.default", false}, {"dea", "hm9000.stop", false},
		{"others", "cloudcontroller.bulk.credentials.default", false}, {"others", "hm9000.>", false},
		{"hm", "cloudcontroller.bulk.credentials.default", false}, {"hm", "router.>", false},
	} {
		nc := login(t, nats, tt.user)
		if _, err := nc.SubscribeSync(tt.subject); err != nil {
			t.Fatal(err)
		}
		wantAllowed(t, nc, tt.user+" subscribes to "+tt.subject, tt.allowed)
	}
}

// login gives a connection of one user.
func login(t *testing.T, srv *bustest.Server, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(srv.URL(), nats.UserInfo(user, user+"-pw"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func wantAllowed(t *testing.T, nc *nats.Conn, what string, allowed bool) {
	t.Helper()
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	// The server's refusal comes before the answer to the flush.
	if err := nc.LastError(); allowed != (err == nil) || err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%s: %v, want allowed: %t", what, err, allowed)
	}
	nc.Close()
}

// wantUsed fails for each permission of hm that no node has used: hm should have no more than it needs.
func wantUsed(t *testing.T, srv *bustest.Server, p *server.Permissions) {
	t.Helper()
	conns, err := srv.Connz(&server.ConnzOptions{Username: true, User: "hm", Subscriptions: true})
	if err != nil {
		t.Fatal(err)
	}
	var subs []string
	for _, c := range conns.Conns {
		subs = append(subs, c.Subs...)
	}
	for _, allowed := range p.Subscribe.Allow {
		if !slices.ContainsFunc(subs, func(s string) bool { return server.SubjectsCollide(s, allowed) }) {
			t.Errorf("hm may subscribe to %s, and has not", allowed)
		}
	}
	for _, allowed := range p.Publish.Allow {
		subject := map[string]string{
			"hm.*.marker": "hm.hm-0.marker", "cloudcontroller.bulk.credentials.*": "cloudcontroller.bulk.credentials.default",
			"_INBOX.>":             "", // the answers, which were received above
			"hm.*.healthmanager.*": "", // questions that a node hands on because another one knows more: TestQuestionsAreHandedOn and others
		}[allowed]
		if subject == "" && strings.ContainsAny(allowed, "*>") {
			continue
		}
		if subject == "" {
			subject = allowed
		}
		if srv.Published(subject) == 0 {
			t.Errorf("hm may publish on %s, and has not", allowed)
		}
	}
}
