package journal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// TestKindsHasEveryKind compares Kinds with the constants, so that no filter is refused that selects events.
func TestKindsHasEveryKind(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []Kind
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil && v.Type.(*ast.Ident).Name == "Kind" {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, Kind(text))
		}
		return true
	})
	if kinds := Kinds(); !slices.Equal(kinds, declared) {
		t.Errorf("Kinds gives %v, declared are %v", kinds, declared)
	}
	for _, k := range declared {
		if !IsFilter(string(k)) {
			t.Errorf("%s cannot be a filter", k)
		}
	}
	if !IsFilter("dea") || IsFilter("") || IsFilter("de") || IsFilter("dea.") {
		t.Error("a subject is a filter; a part of one is not")
	}
}
