package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"hm/internal/api/apitest"
)

// TestMembers: what each request about the members gets.
func TestMembers(t *testing.T) {
	s := open(t, apitest.New().Options())
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		part                     string
	}{
		{"the members", "GET", "/v1/cluster", "", 200, `"voters":3,"healthy_voters":2,"majority":2,"may_lose":0`},
		{"a member as before", "POST", "/v1/cluster/add", `{"id":"hm-2","address":"10.0.0.2:7140"}`, 200, `"changed":false`},
		{"an address twice", "POST", "/v1/cluster/add", `{"id":"hm-9","address":"10.0.0.2:7140"}`, 409, "hm-2 has the address"},
		{"no address", "POST", "/v1/cluster/add", `{"id":"hm-9"}`, 400, "cannot be a member"},
		{"an unknown field", "POST", "/v1/cluster/add", `{"id":"hm-9","port":1}`, 400, "port"},
		{"no JSON", "POST", "/v1/cluster/add", `hm-9`, 400, "cannot be read"},
		{"a fourth", "POST", "/v1/cluster/add", `{"id":"hm-4","address":"10.0.0.4:7140"}`, 200, "4 voters survive no more failures than 3"},
		{"remove it", "POST", "/v1/cluster/remove", `{"id":"hm-4"}`, 200, `"changed":true`},
		{"remove what is needed", "POST", "/v1/cluster/remove", `{"id":"hm-2"}`, 409, "--force does it all the same"},
		{"remove a stranger", "POST", "/v1/cluster/remove", `{"id":"hm-7"}`, 404, "hm cluster status lists the members"},
		{"transfer", "POST", "/v1/cluster/transfer", `{}`, 200, `"id":"hm-2"`},
		{"transfer to the leader", "POST", "/v1/cluster/transfer", `{"id":"hm-1"}`, 200, `"changed":false`},
		{"transfer to one that is away", "POST", "/v1/cluster/transfer", `{"id":"hm-3"}`, 409, "not healthy"},
		{"transfer with an address", "POST", "/v1/cluster/transfer", `{"address":"10.0.0.2:7140"}`, 400, "no address"},
		{"nothing else", "POST", "/v1/cluster/burn", `{}`, 404, ""},
	} {
		req, err := http.NewRequest(tt.method, "http://"+s.Addr()+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.part) {
			t.Errorf("%s: %s %s, want %d with %q", tt.name, resp.Status, body, tt.status, tt.part)
		}
	}
}
