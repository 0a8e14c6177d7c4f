package raftfsm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"hm/internal/app"
)

// TestAppTable holds that the table and its frozen copies have the keys and the DEAs that they were given, whatever the
// form of the guids and however many DEAs there are.
func TestAppTable(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	type content struct {
		key   app.Key
		slots map[uint32]bool
	}
	guid := func(what string, n int) app.GUID {
		switch n % 3 {
		case 0:
			return app.MustGUID(fmt.Sprintf("%s-%d", what, n))
		case 1:
			return app.MustGUID(fmt.Sprintf("%032x", n))
		}
		return app.MustGUID(fmt.Sprintf("%08x-0000-0000-0000-000000000000", n))
	}
	check := func(what string, table *appTable, apps []content) {
		t.Helper()
		for n := range apps {
			h, want := Handle(n), apps[n]
			if got := table.key(h); got != want.key || table.droplet(h) != want.key.Droplet || table.get(h).used() != (want.key != app.Key{}) {
				t.Fatalf("%s: app %d is %v, want %v", what, n, got, want.key)
			}
			if got := slices.Sorted(slices.Values(table.deas(h))); !slices.Equal(got, slices.Sorted(maps.Keys(want.slots))) {
				t.Fatalf("%s: app %d is on %v, want %v", what, n, got, want.slots)
			}
			for m := range apps {
				if same := apps[m].key == want.key; want.key != (app.Key{}) && table.is(h, &apps[m].key) != same {
					t.Fatalf("%s: app %d is app %d: %v, want %v", what, n, m, !same, same)
				}
			}
		}
	}
	for range 20 {
		table := newAppTable()
		var apps []content
		type frozen struct {
			appTable
			want []content
		}
		var copies []frozen
		for step := range 400 {
			k := app.Key{Droplet: guid("d", r.IntN(6)), Version: guid("v", r.IntN(6))}
			n := 0
			if len(apps) > 0 {
				n = r.IntN(len(apps))
			}
			switch {
			case len(apps) < 4:
				table.push(k, appRec{rev: 7})
				apps = append(apps, content{k, map[uint32]bool{}})
			case r.IntN(30) == 0: // released, and used again
				if r.IntN(2) == 0 {
					k = app.Key{}
				}
				table.set(Handle(n), k, appRec{})
				apps[n] = content{k, map[uint32]bool{}}
			case apps[n].key == app.Key{}:
			default:
				if slot := uint32(r.IntN(9)); apps[n].slots[slot] {
					table.removeDEA(Handle(n), slot)
					delete(apps[n].slots, slot)
				} else {
					table.addDEA(Handle(n), slot)
					apps[n].slots[slot] = true
				}
			}
			check("the table", &table, apps)
			if step%20 == 0 {
				var want []content
				for _, a := range apps {
					want = append(want, content{a.key, maps.Clone(a.slots)})
				}
				copies = append(copies, frozen{table.freeze(), want})
			}
		}
		for _, c := range copies {
			check("a frozen copy", &c.appTable, c.want)
		}
		for range apps {
			table.set(Handle(len(apps)-1), app.Key{}, appRec{})
			apps = apps[:len(apps)-1]
		}
		if n := table.odd.Len(); n != 0 {
			t.Fatalf("%d apps are left in the tree although none is in use", n)
		}
	}
}

// TestAppRecordsHaveNoPointers holds that the garbage collector does not read the records of the apps.
func TestAppRecordsHaveNoPointers(t *testing.T) {
	var pointers func(what string, of reflect.Type)
	pointers = func(what string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Struct:
			for i := range of.NumField() {
				pointers(what+"."+of.Field(i).Name, of.Field(i).Type)
			}
		case reflect.Array:
			pointers(what, of.Elem())
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.String, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
			t.Errorf("%s is a %s", what, of)
		}
	}
	pointers("page", reflect.TypeFor[page[appRec]]())
	pointers("packed", reflect.TypeFor[packed]())
	if n := unsafe.Sizeof(appRec{}); n != 88 {
		t.Errorf("an app record has %d bytes instead of 88", n)
	}
}
