package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/sim"
)

// TestSimPrintsWhereItListensAndItsTotals runs hm sim until its first line of totals is out.
func TestSimPrintsWhereItListensAndItsTotals(t *testing.T) {
	db := filepath.Join(t.TempDir(), "cc.db") // the second continues with it
	for _, format := range []string{"table", "json"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		r, w := io.Pipe()
		code := make(chan int, 1)
		go func() {
			code <- newCLI(strings.NewReader(""), w, io.Discard).run(ctx,
				[]string{"sim", "-o", format, "--nats", "nats://127.0.0.1:1", "--apps", "3", "--deas", "2",
					"--cc-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--cc-db", db,
					"--router-listen", "127.0.0.1:0", "--requests", "20"})
			_ = w.Close()
		}()
		want := "converged  apps 3"
		if format == "json" {
			want = `"converged":true`
		}
		var seen bytes.Buffer
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), want) {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatalf("%s: %v after %s", format, err, seen.String())
			}
			seen.Write(buf[:n])
		}
		go func() { _, _ = io.Copy(io.Discard, r) }() // a further line must not block it
		cancel()
		if got := <-code; got != 0 {
			t.Errorf("%s: exit code %d after an interrupt", format, got)
		}
		if !strings.Contains(seen.String(), "sqlite "+db) {
			t.Errorf("%s: %s does not say where the apps are kept", format, seen.String())
		}
		if format != "json" {
			continue
		}
		dec := json.NewDecoder(&seen)
		var where map[string]string
		var st sim.State
		if err := dec.Decode(&where); err != nil || !strings.HasPrefix(where["cc"], "http://127.0.0.1:") ||
			where["control"] == "" || !strings.HasPrefix(where["router"], "http://127.0.0.1:") {
			t.Errorf("%v: %v", where, err)
		}
		if err := dec.Decode(&st); err != nil || st.Apps != 3 {
			t.Errorf("%+v: %v", st, err)
		}
	}
}

func TestSimRefusesWhatCannotBe(t *testing.T) {
	for _, tc := range []struct{ args, has string }{
		{"--exits some", "use --exits crashes"},
		{"--deas -1", "DEAs is -1"},
		{"--control-listen 0.0.0.0:0", "loopback"},
		{"surplus", "surplus"},
		{"--requests 10", "requests need a router"},
		{"--router-listen 127.0.0.1:0 --apps 100000", "leave the router out"},
		{"--cc-db oracle://x", "sqlite, postgres, mysql"},
		{"--cc-db /dev/null/cc.db", "/dev/null/cc.db"},
		{"--cc-schema v2", "no database"},
		{"--cc-db x --cc-schema v4", "neither v2 nor v3"},
	} {
		var out, errs bytes.Buffer
		if code := newCLI(strings.NewReader(""), &out, &errs).run(t.Context(),
			append([]string{"sim"}, strings.Fields(tc.args)...)); code != 1 || !strings.Contains(errs.String(), tc.has) {
			t.Errorf("%s: exit code %d, %s", tc.args, code, errs.String())
		}
	}
}
