package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"hm/desired"
	"hm/internal/app"
)

// decode decodes one page from a text, which it reads in pieces of this size.
func decode(text string, piece int) (page, []row, error) {
	s := newScanner(strings.NewReader(text))
	if piece > 0 {
		s.buf = make([]byte, piece)
	}
	var rows []row
	p, err := readPage(s, func(r row) error { rows = append(rows, r); return nil })
	return p, rows, err
}

func TestRows(t *testing.T) {
	const guid, version = "3f2a1b4c-0d9e-4f00-8abc-0123456789ab", "v-1"
	good := desired.App{Key: app.Key{Droplet: app.MustGUID(guid), Version: app.MustGUID(version)}, Instances: 3, State: desired.Started, Package: desired.Staged}
	const full = `{"id":"` + guid + `","version":"v-1","instances":3,"state":"STARTED","package_state":"STAGED"}`
	with := func(old, new string) string { return strings.Replace(full, old, new, 1) }
	for _, c := range []struct {
		name, key, row string
		bad            string // empty: the row is good
		droplets       string
	}{
		{"as of 2017", guid, full, "", ""},
		{"as of 2014", guid, with(`"state"`, `"memory":256,"updated_at":"2014-01-01T00:00:00+00:00","x":{"id":7,"state":[]},"state"`), "", ""},
		{"white space", guid, " {\n\t\"id\" : \"" + guid + "\" ,\r \"version\":\"v-1\",\"instances\": 3 ,\"state\":\"STARTED\",\"package_state\":\"STAGED\" } ", "", ""},
		{"escapes", guid, strings.NewReplacer("v-1", `\u0076\u002d1`, "STAGED", `STAG\u0045D`, `"id"`, `"\u0069d"`).Replace(full), "", ""},
		{"id missing: the key serves", guid, with(`"id":"`+guid+`",`, ""), "", ""},
		{"id wins over the key", "other", full, "", ""},
		{"id serves where the key is none", "a b", full, "", ""},
		{"long unknown value", guid, with(`"state"`, `"x":"`+strings.Repeat("y", 200<<10)+`","state"`), "", ""},

		{"version missing", guid, with(`"version":"v-1",`, ""), "version is missing", guid},
		{"version null", guid, with(`"v-1"`, "null"), "version is no text", guid},
		{"version empty", guid, with("v-1", ""), "version: not a guid", guid},
		{"version with a space", guid, with("v-1", "v 1"), "version: not a guid", guid},
		{"version beyond ASCII", guid, with("v-1", `v\u00e9`), "version: not a guid", guid},
		{"version too long", guid, with("v-1", strings.Repeat("v", 200)), "version: not a guid", guid},
		{"version of another type", guid, with(`"v-1"`, `{"a":[1,"b"]}`), "version is no text", guid},
		{"instances missing", guid, with(`"instances":3,`, ""), "instances is missing", guid},
		{"instances null", guid, with(":3", ":null"), "instances is no number", guid},
		{"instances text", guid, with(":3", `:"3"`), "instances is no number", guid},
		{"instances negative", guid, with(":3", ":-1"), "instances is -1", guid},
		{"instances a fraction", guid, with(":3", ":1.5"), "instances is 1.5", guid},
		{"instances an exponent", guid, with(":3", ":1e3"), "instances is 1e3", guid},
		{"instances too many", guid, with(":3", ":65537"), "instances is 65537", guid},
		{"instances beyond 32 bits", guid, with(":3", ":4294967299"), "instances is 4294967299", guid},
		{"instances beyond 64 bits", guid, with(":3", ":18446744073709551619"), "instances is 18446744073709551619", guid},
		{"state missing", guid, with(`"state":"STARTED",`, ""), "state is missing", guid},
		{"state unknown", guid, with("STARTED", "started"), "neither STARTED nor STOPPED", guid},
		{"state no text", guid, with(`"STARTED"`, "true"), "state is no text", guid},
		{"package state missing", guid, with(`,"package_state":"STAGED"`, ""), "package_state is missing", guid},
		{"package state unknown", guid, with("STAGED", "GONE"), "none of PENDING", guid},
		{"field twice", guid, with(`"version":"v-1"`, `"version":"v-1","version":"v-2"`), "version comes twice", guid},
		{"id of another type", guid, with(`"`+guid+`"`, "7"), "id is no text", guid},
		{"id invalid", guid, with(guid, "a b"), "id: not a guid", guid},
		{"bad row, id and key differ", "other", with(`"v-1"`, "null"), "version is no text", guid + " other"},
		{"bad row, key invalid", "a b", with(`"v-1"`, "null"), "version is no text", guid},
		{"no object", guid, "null", "no object", guid},
		{"a list", guid, `["x",{}]`, "no object", guid},
		{"a text", guid, `"x"`, "no object", guid},
		{"empty", guid, "{}", "version is missing", guid},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf(`{"results":{%q:%s},"bulk_token":{"id":1}}`, c.key, c.row)
			for _, piece := range []int{0, 1, 7} {
				p, rows, err := decode(text, piece)
				if err != nil || p.rows != 1 || len(rows) != 1 || string(p.token) != `{"id":1}` {
					t.Fatalf("in pieces of %d: %+v, %d rows, %v", piece, p, len(rows), err)
				}
				r := rows[0]
				if c.bad == "" {
					if r.err != nil || r.app != good {
						t.Fatalf("in pieces of %d: %+v, want %+v", piece, r, good)
					}
					continue
				}
				if r.err == nil || !strings.Contains(r.err.Error(), c.bad) {
					t.Fatalf("in pieces of %d: error %v, want %q", piece, r.err, c.bad)
				}
				if got := strings.Trim(fmt.Sprint(r.droplets), "[]"); got != c.droplets {
					t.Errorf("in pieces of %d: the droplets are %s, want %s", piece, got, c.droplets)
				}
			}
		})
	}
}

// A guid is the same in upper and lower case. The letter case of the Cloud Controller is kept.
func TestRowsInUpperCase(t *testing.T) {
	const small, capitals = "3f2a1b4c-0d9e-4f00-8abc-0123456789ab", "3F2A1B4C-0D9E-4F00-8ABC-0123456789AB"
	for name, c := range map[string]struct{ key, id string }{
		"id":              {small, `"id":"` + capitals + `",`},
		"key, without id": {capitals, ""},
	} {
		_, rows, err := decode(`{"results":{"`+c.key+`":{`+c.id+`"version":"ABCDEF0123456789abcdef0123456789","instances":3,"state":"STARTED","package_state":"STAGED"}},"bulk_token":{}}`, 0)
		if err != nil || len(rows) != 1 || rows[0].err != nil {
			t.Fatalf("%s: %+v, %v", name, rows, err)
		}
		a := rows[0].app
		if a.Key.Droplet != app.MustGUID(small) || a.LetterCase.Droplet.Spell(a.Key.Droplet) != capitals || a.LetterCase.Version.Spell(a.Key.Version) != "ABCDEF0123456789abcdef0123456789" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// The reader's error is returned, wherever in the page it occurs.
func TestReaderErrors(t *testing.T) {
	_, rows := fleet(2)
	text := `{"x":[1,-2.5e3,true,null,"\u00e9"],"results":{` + strings.Join(rows, ",") + `},"bulk_token":{"id":2}}`
	broken := errors.New("cable cut")
	for n := range len(text) {
		s := newScanner(io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(broken)))
		if _, err := readPage(s, func(row) error { return nil }); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v, want the reader's error", n, err)
		}
		if _, _, err := decode(text[:n], 16); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v, want an unexpected end", n, err)
		}
	}
	if _, rows, err := decode(text+" \r\n\t", 0); err != nil || len(rows) != 2 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	s := newScanner(iotest.OneByteReader(iotest.DataErrReader(strings.NewReader(text))))
	if p, err := readPage(s, func(row) error { return nil }); err != nil || p.rows != 2 {
		t.Errorf("when the last data comes together with the end: %d rows, %v", p.rows, err)
	}
}

func sameRow(a, b row) bool {
	return a.app == b.app && fmt.Sprint(a.err) == fmt.Sprint(b.err) && slices.Equal(a.droplets, b.droplets)
}

// FuzzPage checks that an accepted page is valid JSON, that the pieces do not matter, and that rows are within the
// limits.
func FuzzPage(f *testing.F) {
	seeds, err := filepath.Glob("testdata/pages/*.json")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), uint8(16))
	}
	f.Fuzz(func(t *testing.T, text string, piece uint8) {
		p, rows, err := decode(text, 0)
		q, pieces, err2 := decode(text, 1+int(piece))
		if fmt.Sprint(err) != fmt.Sprint(err2) || p.rows != q.rows || string(p.token) != string(q.token) || !slices.EqualFunc(rows, pieces, sameRow) {
			t.Fatalf("read at once: %d rows, %v; in pieces of %d: %d rows, %v", p.rows, err, 1+int(piece), q.rows, err2)
		}
		if err != nil {
			return
		}
		var reference struct {
			Results map[string]json.RawMessage `json:"results"`
		}
		if err := json.Unmarshal([]byte(text), &reference); err != nil {
			t.Fatalf("the page was accepted, but encoding/json says %v", err)
		}
		if p.rows < len(reference.Results) || p.rows != len(rows) {
			t.Fatalf("%d rows, but encoding/json finds %d", p.rows, len(reference.Results))
		}
		for _, r := range rows {
			a := r.app
			if r.err != nil && len(r.droplets) == 0 || r.err == nil && (a.Key.Droplet.IsZero() || a.Key.Version.IsZero() || a.Instances > desired.MaxInstances || a.State == 0 || a.Package == 0) {
				t.Fatalf("row %+v", r)
			}
		}
		if len(p.token) > maxToken || p.token != nil && !json.Valid(p.token) {
			t.Fatalf("token %q", p.token)
		}
	})
}
