package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.yaml.in/yaml/v3"

	"hm/internal/api"
	"hm/internal/bus/bustest"
)

// TestImportedConfigurationsRun imports configurations of HM9000 and of HealthManager 2.0, starts a node with each, and sees
// in its status that it speaks to NATS and to the Cloud Controller with the credentials that were imported. Only places
// are overridden: ports, directories and files.
func TestImportedConfigurationsRun(t *testing.T) {
	takesSeconds(t)
	const samples = "../../internal/configimport/testdata/"
	cert, key := raftCertificate(t)
	for _, c := range []struct {
		name, command, sample string
		natsUser, natsSecret  string // empty: none
		bulkUser, bulkSecret  string
		overNATS              bool // hm asks for the credentials of the bulk API
		apiUser, apiSecret    string
	}{
		{"HM9000", "import-hm9000", "hm9000_sample.json", "", "", "mcat", "testing", false, "magnet", "orangutan4sale"},
		{"HM9000, deployed", "import-hm9000", "hm9000_deployed.json", "nats", "nats-password", "bulk_api", "sesame", false, "internal_user", "internal-password"},
		{"HealthManager", "import-ruby", "ruby_sample.yml", "nats", "nats", "bulk", "sesame", true, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hm.yml")
			var out, errs bytes.Buffer
			if code := newCLI(strings.NewReader(""), &out, &errs).run(t.Context(), []string{"config", c.command, samples + c.sample, "-o", file}); code != 0 {
				t.Fatalf("exit code %d: %s", code, errs.String())
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file can be read by others: %v, %v", info.Mode(), err)
			}
			bus := bustest.Run(t, func(o *server.Options) { o.Username, o.Password = c.natsUser, c.natsSecret })
			cc := bulkAPI(t, c.bulkUser, c.bulkSecret)
			if c.overNATS {
				answerCredentials(t, bus.URL(), c.natsUser, c.natsSecret, c.bulkUser, c.bulkSecret)
			}
			port := bustest.FreePorts(t, 4)
			address := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", port[i]) }
			args := []string{"server", "--config", file}
			set := func(key, value string) { args = append(args, "--set", key+"="+value) }
			set("node.data_dir", t.TempDir())
			set("raft.listen", address(0))
			set("api.listen", address(1))
			set("nats.servers", bus.URL())
			set("desired.bulk.url", cc)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range map[string]string{
				"heartbeats.listen": address(2), "heartbeats.tls.cert": cert, "heartbeats.tls.key": key, "heartbeats.tls.client_ca": cert,
				"compat.varz.listen": address(3), "commands.cc_url": cc,
			} {
				if imports(string(text), key) {
					set(key, value)
				}
			}
			startProcess(t, "hm", "hm", args...)
			var s api.Status
			for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
				s, err = statusAs(t.Context(), "http://"+address(1), c.apiUser, c.apiSecret)
				if err == nil && s.NATS.Connected && s.Desired.Apps == 1 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the node does not read the desired state: %v, %+v, %+v", err, s.NATS, s.Desired)
				}
			}
			if s.Node != "hm-0" || s.Desired.Source != "bulk "+cc || s.Desired.Instances != 3 {
				t.Errorf("%+v", s)
			}
			if c.apiUser != "" {
				if _, err := statusAs(t.Context(), "http://"+address(1), c.apiUser, "wrong"); err == nil || !strings.Contains(err.Error(), "401") {
					t.Errorf("the API takes a wrong password: %v", err)
				}
			}
		})
	}
}

// imports reports whether an imported configuration sets a key, and not only as a comment.
func imports(text, key string) bool {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return false
	}
	var v any = tree
	for part := range strings.SplitSeq(key, ".") {
		section, _ := v.(map[string]any)
		v = section[part]
	}
	return v != nil
}

// bulkAPI is a Cloud Controller with one app, for whoever has the user and the password.
func bulkAPI(t *testing.T, user, password string) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, secret, _ := r.BasicAuth()
		if name != user || secret != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		results := `{}`
		if r.URL.Query().Get("bulk_token") == "{}" {
			results = `{"a-guid":{"id":"a-guid","version":"v","instances":3,"state":"STARTED","package_state":"STAGED"}}`
		}
		_, _ = fmt.Fprintf(w, `{"results":%s,"bulk_token":{"id":1}}`, results)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// answerCredentials gives the credentials of the bulk API over NATS, as the Cloud Controller does.
func answerCredentials(t *testing.T, url, natsUser, natsPassword, user, password string) {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(natsUser, natsPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	answer := fmt.Sprintf(`{"user":%q,"password":%q}`, user, password)
	if _, err := nc.Subscribe("cloudcontroller.bulk.credentials.default", func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// statusAs reads the status of a node as a user.
func statusAs(ctx context.Context, url, user, password string) (s api.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/status", nil)
	if err != nil {
		return s, err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return s, err
	}
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return s, json.Unmarshal(body, &s)
}
