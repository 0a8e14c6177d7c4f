package configimport

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hm/internal/config"
)

func FuzzFromHM9000(f *testing.F) {
	for _, seed := range []string{
		"testdata/hm9000_sample.json", "testdata/hm9000_deployed.json", `{}`, `{"nats": [{"host": "a", "port": 4222, "user": "u", "password": "p"}]}`,
		`{"cc_internal_url": "cc", "cc_auth_password": "\u0000\n' #", "api_server_address": "::1"}`,
	} {
		f.Add(seedText(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := FromHM9000(data)
		if err == nil {
			mustBeReadBack(t, im)
		}
	})
}

func FuzzFromRuby(f *testing.F) {
	for _, seed := range []string{
		"testdata/ruby_sample.yml", "mbus: nats://u:p@n\n", "status: {port: 1, user: \"a: #b\", password: '''x'}\n",
		"intervals: {droplet_lost: 0x10, request_queue: .inf}\ncc_partition: yes\n", "a: &x [*x]\n", "? [a]\n: b\n",
	} {
		f.Add(seedText(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := FromRuby(data)
		if err == nil {
			mustBeReadBack(t, im)
		}
	})
}

func seedText(f *testing.F, seed string) []byte {
	if !strings.HasPrefix(seed, "testdata/") {
		return []byte(seed)
	}
	data, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// mustBeReadBack holds that the written configuration says what Config says: no comment, and no text, breaks out of its
// place.
func mustBeReadBack(t *testing.T, im Import) {
	t.Helper()
	text := im.YAML("hm", "a\nb")
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	got := config.Default()
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for name, v := range tree {
			if below, ok := v.(map[string]any); ok {
				walk(prefix+name+".", below)
				continue
			}
			if v == nil && config.IsSection(prefix+name) {
				continue
			}
			k, known := config.KeyNamed(prefix + name)
			if !known {
				t.Fatalf("%s%s is not a key, in:\n%s", prefix, name, text)
			}
			if p := k.Set(&got, v); p != nil {
				t.Fatalf("%v in:\n%s", p, text)
			}
		}
	}
	walk("", tree)
	if !reflect.DeepEqual(got, im.Config) {
		t.Fatalf("read back: %+v\nwant: %+v\nin:\n%s", got, im.Config, text)
	}
}
