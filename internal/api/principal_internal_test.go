package api

import (
	"encoding/json"
	"strings"
	"testing"

	"hm/internal/access"
)

func TestPrincipalsTravelWhole(t *testing.T) {
	for _, who := range []access.Principal{
		{Name: "amy & co=x", Role: access.Admin, How: access.JWT, From: "2001:db8::1"}, {Role: access.Admin, How: access.Open, From: "127.0.0.1"},
		{Name: strings.Repeat("é", 64), Role: access.Read, How: access.Certificate},
	} {
		if got, ok := parsePrincipal(formatPrincipal(who)); !ok || got != who {
			t.Errorf("%+v arrives as %+v, %t", who, got, ok)
		}
	}
}

// FuzzParsePrincipal: what is accepted is what a node sends.
func FuzzParsePrincipal(f *testing.F) {
	f.Add("role=admin&how=password&name=amy&from=10.0.0.1")
	f.Add("role=admin&role=read&how=open&name=&from=")
	f.Add("%zz;")
	f.Fuzz(func(t *testing.T, value string) {
		who, ok := parsePrincipal(value)
		if !ok {
			return
		}
		if again, ok := parsePrincipal(formatPrincipal(who)); !ok || again != who {
			t.Errorf("%q gives %+v, which arrives as %+v", value, who, again)
		}
	})
}

// FuzzParseDeed: what is accepted makes a note that the log takes.
func FuzzParseDeed(f *testing.F) {
	raw, err := json.Marshal(deed{Name: "amy", Role: "admin", How: "jwt", From: "10.0.0.1", Node: "hm-1", What: "POST /v1/holds", Status: 201})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"name":"","role":"admin","how":"open","status":9999}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := parseDeed(raw)
		if n := d.note(); err == nil && (len(n.By) > 256 || len(n.Name) > 256 || len(n.Counts) > 32) {
			t.Errorf("%q gives %+v", raw, n)
		}
	})
}
