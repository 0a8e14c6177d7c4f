package server

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/config"
)

// mark is in every secret of the configuration.
const mark = "MARKED-SECRET-"

// TestNoSecretComesOut gives a node a marked secret in every secret key, asks it for everything, with right and wrong
// credentials, and looks for the marks in all that it says and keeps.
func TestNoSecretComesOut(t *testing.T) {
	sets := []string{
		"api.username=amy", "api.read_username=rob", "desired.bulk.username=bulk_api", "commands.cc_username=cc", "nats.username=hm",
		"compat.varz.username=collector", "log.level=debug",
	}
	secrets := map[string]string{}
	for _, k := range config.Keys() {
		if k.Secret && k.Name != "nats.token" { // which excludes nats.password
			secrets[k.Name] = mark + strings.ReplaceAll(k.Name, ".", "-")
			sets = append(sets, k.Name+"="+secrets[k.Name])
		}
	}
	nats := bustest.Run(t, nil)
	log := &testLog{}
	c := startCluster(t, nats, clusterSetup{period: 100 * time.Millisecond, nodes: 1, sets: sets})
	n := c.nodes[0]
	n.close(t)
	n.logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.open(t)

	said := map[string]string{"the masked configuration": fmt.Sprintf("%+v", n.cfg.Masked())}
	ask := func(what, method, path string, show func(*http.Request)) int {
		t.Helper()
		limit := 30 * time.Second
		if strings.HasSuffix(path, "/recording") {
			limit = time.Second // of what has no end
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, n.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		show(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil && ctx.Err() == nil && !strings.HasSuffix(path, "/recording") {
			t.Errorf("%s: %v", path, err)
		}
		said[what+" of "+method+" "+path] = fmt.Sprint(resp.Header) + string(raw)
		return resp.StatusCode
	}
	admin := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secrets["api.admin_token"]) }
	eventuallyReady(t, n)
	for _, path := range []string{
		"/v1/status", "/v1/drift", "/v1/apps", "/v1/deas", "/v1/commands?history=100", "/v1/holds", "/v1/events?follow=false", "/v1/series", "/metrics",
		"/readyz", "/openapi.yaml", "/", "/cluster", "/events", "/nothing", "/v1/recording",
	} {
		ask("the answer", http.MethodGet, path, admin)
	}
	for name, show := range map[string]func(*http.Request){
		"a wrong password": func(r *http.Request) { r.SetBasicAuth("amy", secrets["api.password"]+"x") }, "a wrong token": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+mark+"guess") },
		"a secret as a user": func(r *http.Request) { r.SetBasicAuth(secrets["api.password"], "x") }, "a scheme": func(r *http.Request) { r.Header.Set("Authorization", mark+"scheme") },
	} {
		if status := ask("the answer to "+name, http.MethodGet, "/v1/status", show); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status := ask("the answer", http.MethodDelete, "/v1/holds/nothing", admin); status != http.StatusNotFound {
		t.Errorf("a write: %d", status)
	}
	if status := ask("the refusal", http.MethodDelete, "/v1/holds/nothing", func(r *http.Request) { r.SetBasicAuth("rob", secrets["api.read_password"]) }); status != http.StatusForbidden {
		t.Errorf("a reader's write: %d", status)
	}
	const events = "/v1/events?follow=false&kind=admin"
	history := func() string {
		ask("the history", http.MethodGet, events, admin)
		return said["the history of GET "+events]
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(history(), "admin.refused"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the history lacks the refusal: %s", history())
		}
	}
	if h := history(); !strings.Contains(h, `"by":"rob"`) || !strings.Contains(h, "GET /v1/recording") || !strings.Contains(h, "DELETE /v1/holds/nothing") {
		t.Errorf("the history is %s", h)
	}
	bad := n.cfg
	bad.API.ReadToken, bad.API.AdminToken, bad.NATS.Token = mark+"with spaces", mark+"é", mark+"token"
	said["the error of a bad configuration"] = fmt.Sprint(bad.Validate())
	if _, err := api.NewClient(api.ClientOptions{Addr: n.url(), Token: mark + "x y"}); err == nil {
		t.Error("a token with spaces is taken")
	} else {
		said["the error of a client"] = err.Error()
	}
	n.close(t)
	said["the log"] = log.String()
	if err := filepath.WalkDir(n.cfg.Node.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		said["the file "+d.Name()] = string(raw)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for what, text := range said {
		if at := strings.Index(text, mark); at >= 0 {
			t.Errorf("%s has a secret: ...%q", what, text[max(at-100, 0):min(at+100, len(text))])
		}
	}
	if len(said) < 25 || !strings.Contains(said["the log"], "did not let somebody in") {
		t.Errorf("only %d things were looked at", len(said))
	}
}

func eventuallyReady(t *testing.T, n *testNode) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(n.url() + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the node is not ready within 30 s")
		}
	}
}
