package basicauth_test

import (
	"net/http/httptest"
	"testing"

	"hm/internal/basicauth"
)

func TestOK(t *testing.T) {
	for _, c := range []struct {
		name           string
		user, password string
		given          bool
		want           bool
	}{
		{"right", "collector", "secret", true, true},
		{"wrong password", "collector", "secret2", true, false},
		{"wrong user", "collectors", "secret", true, false},
		{"shifted", "collectors", "ecret", true, false},
		{"empty", "", "", true, false},
		{"none", "", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/varz", nil)
			if c.given {
				r.SetBasicAuth(c.user, c.password)
			}
			if got := basicauth.New("collector", "secret").OK(r); got != c.want {
				t.Errorf("OK is %t, want %t", got, c.want)
			}
		})
	}
	if basicauth.New("", "").OK(httptest.NewRequest("GET", "/", nil)) {
		t.Error("a request without credentials has the empty ones")
	}
}
