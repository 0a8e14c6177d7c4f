package raftfsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hm/internal/app"
)

func places(from, n int) []Place {
	var list []Place
	for i := range n {
		list = append(list, Place{App: app.Key{Droplet: testGUID('d', from+i, "uht"[i%3]), Version: testGUID('v', i%5, 't')}, Index: uint32(i % 7)})
	}
	return list
}

func TestPlaces(t *testing.T) {
	few := places(0, 20)
	p := NewPlaces(append(slices.Clone(few), few...))
	got := slices.Collect(p.All())
	if p.Len() != 20 || len(got) != 20 || p.check() != nil {
		t.Fatalf("%d places of 20: %v", p.Len(), p.check())
	}
	for _, place := range few {
		if !slices.Contains(got, place) {
			t.Errorf("%v is missing", place)
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(few), func(i, j int) { few[i], few[j] = few[j], few[i] })
	if NewPlaces(few) != p {
		t.Error("the order of the list makes a difference")
	}
	if NewPlaces(nil) != "" || Places("").Len() != 0 || p.With("") != p {
		t.Error("Places without places is not the empty text")
	}
}

// Of too many places a sample is kept, which is the same however its parts were joined.
func TestPlacesSample(t *testing.T) {
	const n = 5000
	all := places(0, n)
	p := NewPlaces(slices.Clone(all))
	if p.Len() != MaxPlaces || p.check() != nil {
		t.Fatalf("%d places: %v", p.Len(), p.check())
	}
	if parts := NewPlaces(places(0, n)[:2000]).With(NewPlaces(places(0, n)[1500:])); parts != p {
		t.Error("the sample of two samples differs from the sample of all")
	}
	first := 0
	for place := range p.All() {
		if slices.Index(all, place) < n/2 {
			first++
		}
	}
	if first < MaxPlaces*2/5 || first > MaxPlaces*3/5 {
		t.Errorf("%d of the %d places in the sample are from the first half", first, MaxPlaces)
	}
}

func TestInvalidPlaces(t *testing.T) {
	list := slices.Collect(NewPlaces(places(0, 3)).All())
	text := func(list ...Place) Places {
		var b []byte
		for _, p := range list {
			b = p.append(b)
		}
		return Places(b)
	}
	good := text(list...)
	uuid := testGUID('d', 1, 'u').String()
	for name, p := range map[string]Places{
		"cut short":         good[:len(good)-1],
		"not encoded":       "x",
		"out of order":      text(list[1], list[0]),
		"twice":             text(list[0], list[0]),
		"an index too high": text(Place{App: list[0].App, Index: 1 << 16}),
		"no droplet":        text(Place{App: app.Key{Version: list[0].App.Version}}),
		"too many":          Places(strings.Repeat(string(good), MaxPlaces)),
		"a UUID as text":    Places("t" + string(rune(len(uuid))) + uuid + "t\x01v\x00\x00\x00\x00"),
	} {
		if p.check() == nil {
			t.Errorf("%s: not refused", name)
		}
		l := newLog(t)
		if res := l.apply(HoldSet{Hold: Hold{Name: "mass-loss", Lost: p}}); len(res.Refused) != 1 {
			t.Errorf("%s: the hold was recorded", name)
		}
		p.Len() // must end
	}
}

// The lost places of many holds do not fit into one record of a snapshot.
func TestManyPlacesInASnapshot(t *testing.T) {
	var list []Place
	for i := range MaxPlaces {
		long := strings.Repeat("x", app.MaxGUIDLen-4)
		list = append(list, Place{App: app.Key{Droplet: app.MustGUID(fmt.Sprintf("%s%04d", long, i)), Version: app.MustGUID(long)}})
	}
	l := newLog(t)
	for i := range 100 {
		l.must(HoldSet{Hold: Hold{Name: fmt.Sprintf("hold-%03d", i), Lost: NewPlaces(list)}})
	}
	var b bytes.Buffer
	if err := l.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	s, err := RestoreState(&b)
	if err != nil {
		t.Fatal(err)
	}
	if s.Hash() != l.Hash() || !slices.Equal(s.Holds(), l.Holds()) {
		t.Error("the restored holds differ")
	}
}
