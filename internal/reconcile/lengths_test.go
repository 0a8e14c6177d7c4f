package reconcile

import (
	"reflect"
	"testing"

	"hm/raftfsm"
)

// lengths notes, for every map, slice and channel that can be reached from v, how many elements it has. The path has the
// names of the fields; elements of one map or slice are added up. The recorded state and the simulated world are left out:
// they are not the loop's.
func lengths(found map[string]int, path string, v any) {
	w := walker{found: found, seen: map[visit]bool{}}
	w.walk(path, reflect.ValueOf(v))
}

type visit struct {
	at uintptr
	of reflect.Type
}

type walker struct {
	found map[string]int
	seen  map[visit]bool
}

func (w *walker) walk(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || w.seen[visit{v.Pointer(), v.Type()}] || foreign(v.Type()) {
			return
		}
		w.seen[visit{v.Pointer(), v.Type()}] = true
		w.walk(path, v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			w.walk(path, v.Elem())
		}
	case reflect.Struct:
		if foreign(v.Type()) {
			return
		}
		for i := range v.NumField() {
			w.walk(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Map:
		w.found[path] += v.Len()
		for it := v.MapRange(); it.Next(); {
			w.walk(path+"[]", it.Value())
		}
	case reflect.Slice:
		w.found[path] += v.Len()
		switch v.Type().Elem().Kind() {
		case reflect.Pointer, reflect.Struct, reflect.Slice, reflect.Map, reflect.Interface:
			for i := range v.Len() {
				w.walk(path+"[]", v.Index(i))
			}
		}
	case reflect.Chan:
		w.found[path] += v.Len()
	case reflect.Array:
		switch v.Type().Elem().Kind() {
		case reflect.Pointer, reflect.Struct, reflect.Slice, reflect.Map, reflect.Interface:
			for i := range v.Len() {
				w.walk(path+"[]", v.Index(i))
			}
		}
	}
}

// foreign reports whether a type belongs to the recorded state or to the simulated world.
func foreign(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[raftfsm.State](), reflect.TypeFor[simCF](), reflect.TypeFor[simNode](), reflect.TypeFor[simPeers]():
		return true
	}
	return t.PkgPath() == "testing" || t.PkgPath() == "log/slog"
}

// TestLengths: what hides in maps of pointers to structs is found.
func TestLengths(t *testing.T) {
	type leaf struct{ list []int }
	type root struct {
		m    map[string]*leaf
		any  any
		self *root
	}
	r := &root{m: map[string]*leaf{"a": {make([]int, 3)}, "b": {make([]int, 4)}}, any: leaf{make([]int, 5)}}
	r.self = r
	found := map[string]int{}
	lengths(found, "r", r)
	if found["r.m"] != 2 || found["r.m[].list"] != 7 || found["r.any.list"] != 5 {
		t.Errorf("found %v", found)
	}
}
