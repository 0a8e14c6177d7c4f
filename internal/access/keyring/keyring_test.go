package keyring

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hm/internal/access"
)

func jwks(t testing.TB, id string) string {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: id, Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func ids(r *Ring) string { return strings.Join(r.Keys().IDs(), " ") }

// TestAFileIsReadAgain: keys turn without a restart, and a file that is broken changes nothing.
func TestAFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Options{File: file}); err == nil || !strings.Contains(err.Error(), "api.jwt.keys") {
		t.Errorf("a missing file: %v", err)
	}
	write("nonsense")
	if _, err := Open(Options{File: file}); err == nil {
		t.Error("a file without keys is taken")
	}
	write(jwks(t, "one"))
	r, err := Open(Options{File: file, Times: Times{Apart: time.Nanosecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(jwks(t, "two"))
	if r.Renew(); ids(r) != "two" {
		t.Errorf("the keys are %s", ids(r))
	}
	write("")
	if r.Renew(); ids(r) != "two" {
		t.Errorf("after the file was emptied the keys are %s", ids(r))
	}
}

// TestAnswersThatAreNoKeys: whatever a server answers, the last good keys count.
func TestAnswersThatAreNoKeys(t *testing.T) {
	answer := make(chan http.HandlerFunc, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h := <-answer; answer <- h; h(w, r) }))
	defer s.Close()
	text := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	answer <- text(jwks(t, "good"))
	cache := filepath.Join(t.TempDir(), "cache")
	open := func(url string) *Ring {
		r, err := Open(Options{URL: url, Cache: cache, Times: Times{Apart: time.Nanosecond, Every: time.Hour, Retry: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open(s.URL)
	r.Renew()
	for name, h := range map[string]http.HandlerFunc{
		"an empty set": text(`{"keys":[]}`), "a page": text("<html>"), "nothing": text(""), "a private key": text(`{"keys":[{"kty":"oct","k":"AAAA"}]}`),
		"too much": text(`{"keys":[],"x":"` + strings.Repeat("x", access.MaxKeysBytes) + `"}`),
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, jwks(t, "bad"), http.StatusInternalServerError)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"an end": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		<-answer
		answer <- h
		if r.Renew(); ids(r) != "good" {
			t.Errorf("after %s the keys are %q", name, ids(r))
		}
	}
	r.Close()
	if r = open(s.URL); ids(r) != "good" {
		t.Errorf("after a restart the keys are %q", ids(r))
	}
	r.Close()
	if r = open(s.URL + "/other"); ids(r) != "" {
		t.Errorf("the keys of another URL count: %q", ids(r))
	}
	r.Close()
	if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(cache, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = open(s.URL); ids(r) != "" {
		t.Errorf("a damaged cache gives %q", ids(r))
	}
	r.Close()
}

func FuzzParseKept(f *testing.F) {
	f.Add([]byte(`{"url":"https://uaa","keys":` + jwks(f, "k") + `}`))
	f.Add([]byte(`{"url":"https://uaa","keys":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, raw, err := parseKept(text, "https://uaa"); err == nil && (len(keys.IDs()) == 0 || len(raw) == 0) {
			t.Errorf("%q gives %v", text, keys)
		}
	})
}
