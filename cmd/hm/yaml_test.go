package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestYAMLKeepsTheOrderOfKeys(t *testing.T) {
	var out bytes.Buffer
	raw := `{"z":1,"a":{"x":[],"b":null,"k":{}},"list":[{"num":2.5e3,"m":"2023-11-14T23:13:20.000Z"},true,"yes","12",""]}`
	if err := writeYAML(&out, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	want := `z: 1
a:
  x: []
  b: null
  k: {}
list:
  - num: 2.5e3
    m: "2023-11-14T23:13:20.000Z"
  - true
  - "yes"
  - "12"
  - ""
`
	if out.String() != want {
		t.Errorf("got\n%s, want\n%s", &out, want)
	}
	out.Reset()
	l := yamlList[any]{w: bufio.NewWriter(&out)}
	for _, item := range []any{map[string]any{"a": 1, "b": []int{2}}, "x", []int{3, 4}} {
		if err := l.add(item); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != "- a: 1\n  b:\n    - 2\n- x\n- - 3\n  - 4\n" {
		t.Errorf("items are written as\n%s", &out)
	}
	if writeYAML(&out, []byte(`{"a":`)) == nil {
		t.Error("half a value is written without an error")
	}
}

// TestYAMLSaysWhatJSONSays: whatever the texts and numbers are, a reader of YAML finds what a reader of JSON finds.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	odd := []string{"~", "null", "true", "no", "on", "0x1f", "1e3", "-", "- a", "a: b", "#", "'", `"`, "\n", "a\n", " a ", "\t", "\u2028", "\U0001f600", "&a", "*a", "!x", "%", "@", "`", "|", ">", "[", "{", "2001-01-01", "1_000", "0o7", ".inf", "=", "<<"}
	text := rapid.OneOf(rapid.SampledFrom(odd), rapid.String())
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{
			text.AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil), rapid.Float64Range(-1e9, 1e9).AsAny(),
		}
		if depth == 0 {
			return rapid.OneOf(leaves...)
		}
		return rapid.OneOf(append(leaves, rapid.SliceOfN(value(depth-1), 0, 4).AsAny(), rapid.MapOfN(text, value(depth-1), 0, 4).AsAny())...)
	}
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(value(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := writeYAML(&out, raw); err != nil {
			t.Fatal(err)
		}
		var want, got any
		d := json.NewDecoder(bytes.NewReader(raw))
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v:\n%s", err, &out)
		}
		if got := numbersAsFloat(got); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is written as\n%s", raw, strings.TrimSpace(out.String()))
		}
	})
}

// numbersAsFloat makes what YAML decodes comparable with what JSON decodes.
func numbersAsFloat(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = numbersAsFloat(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbersAsFloat(v[k])
		}
	}
	return v
}
