package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"runtime/debug"
	"testing"
)

// The document of this test's own program names its modules, and is the same each time.
func TestDescribe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]bytes.Buffer
	for i := range texts {
		info, err := buildinfo.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		info.Deps = append(info.Deps, module("example.com/b", "v2.0.0"), module("example.com/a", "v1.0.0"))
		if err := write(&texts[i], describe(info, "hm", "v1.2.3", "abc", "1700000000")); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0].String() != texts[1].String() {
		t.Error("the document differs from time to time")
	}
	var b bom
	if err := json.Unmarshal(texts[0].Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Timestamp != "2023-11-14T22:13:20Z" || b.Metadata.Component.Version != "v1.2.3" {
		t.Errorf("%+v", b.Metadata)
	}
	if n := len(b.Components); n < 3 || len(b.Dependencies) != 1 || len(b.Dependencies[0].DependsOn) != n ||
		b.Components[0].PURL != "pkg:golang/example.com/a@v1.0.0" || b.Components[1].Name != "example.com/b" {
		t.Errorf("%+v", b.Components)
	}
}

func module(path, version string) *debug.Module {
	return &debug.Module{Path: path, Version: version, Sum: "h1:x"}
}
