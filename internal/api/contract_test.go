package api_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// TestEveryOperationRefusesWhatItDoesNotUnderstand: each operation is served; a parameter that it does not have, a value
// that makes no sense, a parameter given twice and a query that cannot be read are refused with a problem document.
func TestEveryOperationRefusesWhatItDoesNotUnderstand(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	ids := strings.NewReplacer("{guid}", apitest.Steady.Droplet.String(), "{id}", "1-dea-one", "{name}", "paused")
	for _, o := range api.Operations() {
		path := ids.Replace(o.Path)
		if strings.HasSuffix(o.Path, "/recording") {
			continue // the fake node offers none
		}
		refused := func(query string) {
			t.Helper()
			resp, raw := ask(t, o.Method, base+path+"?"+query, "", "Accept", "application/json")
			var p api.Problem
			if err := json.Unmarshal(raw, &p); err != nil || p.Status != resp.StatusCode || resp.StatusCode < 400 || resp.StatusCode > 414 ||
				resp.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(p.Type, "urn:hm:problem:") || p.Title != http.StatusText(p.Status) || p.Detail == "" {
				t.Errorf("%s %s?%.60s gives %d %.200s", o.Method, path, query, resp.StatusCode, raw)
			}
		}
		if o.Lenient {
			if resp, _ := ask(t, o.Method, base+path+"?x=1", ""); resp.StatusCode != 200 {
				t.Errorf("%s %s gives %d", o.Method, path, resp.StatusCode)
			}
			continue
		}
		refused("nosuchparameter=1")
		refused("a=%zz")
		refused("x=" + strings.Repeat("y", 8<<10))
		for name, wrong := range o.Wrong {
			if wrong == "" {
				t.Errorf("%s %s: the parameter %s has no value that is refused", o.Method, o.Path, name)
			}
			refused(name + "=" + wrong)
			if name != "kind" {
				refused(name + "=1&" + name + "=1")
			}
		}
	}
}

// TestParametersAreThoseThatHandlersRead: no handler reads a parameter that its operation does not have.
func TestParametersAreThoseThatHandlersRead(t *testing.T) {
	named := map[string]bool{}
	for _, o := range api.Operations() {
		for name := range o.Wrong {
			named[name] = true
		}
	}
	read := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:[qr]|values|Query\(\))\.Get\("([a-z]+)"\)|values\["([a-z]+)"\]`).FindAllStringSubmatch(sources(t), -1) {
		read[m[1]+m[2]] = true
	}
	for name := range read {
		if !named[name] {
			t.Errorf("the parameter %s is read, and no operation has it", name)
		}
	}
	for name := range named {
		if !read[name] {
			t.Errorf("the parameter %s is accepted, and nothing reads it", name)
		}
	}
}
