package feed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// agree checks that Redecoder and DecodeHeartbeat return the same.
func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, r *Redecoder, data []byte) {
	t.Helper()
	got, gotErr := r.Decode(bytes.Clone(data))
	want, wantErr := DecodeHeartbeat(data)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%s\nthe Redecoder returns the error %v, DecodeHeartbeat %v", data, gotErr, wantErr)
	}
	if !same(got, want) {
		t.Fatalf("%s\nis decoded as %+v\nby DecodeHeartbeat as %+v", data, got, want)
	}
}

// FuzzRedecoder decodes three payloads after one another, in every order that matters.
func FuzzRedecoder(f *testing.F) {
	var all [][]byte
	for n := range 4 {
		all = append(all, dea(9, n))
	}
	a, b, twice := entry(nil), entry(map[string]string{"instance": `"` + i2 + `"`}), entry(map[string]string{"index": "1"})
	bad := entry(map[string]string{"index": "-1"})
	all = append(all, beat(), beat(a), beat(b), beat(a, b), beat(b, a), beat(a, twice), beat(a, bad), beat(bad), beat(a+" ", " "+b), []byte(`{"dea":"dea-1","droplets":[`+a+`]}`),
		[]byte(`{"droplets":[`+a+`],"dea":"dea-1","dea":"dea-2"}`), []byte(`{"droplets":[`+a+`,],"dea":"dea-1"}`), []byte(`{"droplets":[`+a+b+`],"dea":"dea-1"}`), []byte(`{"droplets":[`+a))
	for i := range all {
		f.Add(all[i], all[(i+1)%len(all)], all[(i+2)%len(all)])
		f.Add(all[i], all[(i*5+3)%len(all)], all[(i*7+2)%len(all)])
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var r Redecoder
		for _, data := range [][]byte{a, a, b, a, c, b, c, c, a} {
			agree(t, &r, data)
		}
		half := append(bytes.Clone(a[:len(a)/2]), b[min(len(a)/2, len(b)):]...)
		for _, data := range [][]byte{half, a, half} {
			agree(t, &r, data)
		}
	})
}

// TestRedecoder decodes the heartbeats of two DEAs, with every kind of change between two heartbeats.
func TestRedecoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Redecoder{maxBytes: rapid.SampledFrom([]int{0, 0, 400}).Draw(t, "bytes remembered")}
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		fresh := func() string {
			change := map[string]string{"instance": fmt.Sprintf(`"%032x"`, rnd.IntN(60)), "index": fmt.Sprint(rnd.IntN(12))}
			switch rnd.IntN(12) {
			case 0:
				change["state"] = `"CRASHED"`
			case 1:
				change["instance"] = fmt.Sprintf(`"short-%d"`, rnd.IntN(9))
			case 2:
				change["state_timestamp"] = ""
			}
			return entry(change)
		}
		unusual := []string{`{}`, `1`, `{"a":[{}]}`, entry(map[string]string{"index": "1.5"}), entry(map[string]string{"state": `"RUNN\u0049NG"`}), entry(map[string]string{`"x"`: `"\\"`}), ` ` + entry(nil), entry(nil) + "\n", ``, `{`}
		lists := make([][]string, 2)
		for range rapid.IntRange(1, 40).Draw(t, "heartbeats") {
			d := rnd.IntN(len(lists))
			list := lists[d]
			for range rnd.IntN(4) {
				at := rnd.IntN(len(list) + 1)
				switch n := len(list) - at; rapid.IntRange(0, 8).Draw(t, "change") {
				case 0, 1:
					list = append(list[:at:at], append([]string{fresh()}, list[at:]...)...)
				case 2:
					list = append(list[:at:at], list[at+min(n, 1):]...)
				case 3:
					list = append(list[:at:at], list[at+min(n, rnd.IntN(20)):]...)
				case 4:
					for range 30 {
						list = append(list[:len(list):len(list)], fresh())
					}
				case 5:
					list = append([]string{}, list...)
					rnd.Shuffle(n, func(i, j int) { list[at+i], list[at+j] = list[at+j], list[at+i] })
				case 6:
					if n > 0 {
						list = append(append(list[:at:at], fresh()), list[at+1:]...)
					}
				case 7:
					if n > 0 { // the same entry again
						list = append(list[:len(list):len(list)], list[at])
					}
				case 8:
					list = append(list[:at:at], append([]string{unusual[rnd.IntN(len(unusual))]}, list[at:]...)...)
				}
			}
			lists[d] = list
			data := beat(list...)
			data = bytes.Replace(data, []byte("dea-1"), fmt.Appendf(nil, "dea-%d", d), 1)
			switch rnd.IntN(20) {
			case 0:
				data = bytes.Replace(data, []byte(`{"droplets"`), []byte(`{"x":"\u00e9","droplets"`), 1)
			case 1:
				var out bytes.Buffer
				if json.Indent(&out, data, "", " ") == nil {
					data = out.Bytes()
				}
			case 2:
				data = data[:rnd.IntN(len(data))]
			case 3:
				data = fmt.Appendf(nil, `{"dea":"dea-%d",%s}`, d, bytes.TrimSuffix(data[1:], fmt.Appendf(nil, `,"dea":"dea-%d"}`, d)))
			case 4:
				data = append(data, ' ')
			case 5:
				data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
			}
			agree(t, &r, data)
		}
	})
}

// TestRedecoderCompares checks that a Redecoder really compares entries: it decodes at most the one changed entry.
func TestRedecoderCompares(t *testing.T) {
	whole := dea(3, 100)
	entries := bytes.SplitAfter(whole, []byte("},"))
	without := func(gone ...int) []byte {
		var out []byte
		for i, e := range entries {
			if len(gone) == 0 || i < gone[0] || i > gone[len(gone)-1] {
				out = append(out, e...)
			}
		}
		return out
	}
	for name, next := range map[string][]byte{
		"one gone": without(50), "five gone": without(50, 54), "one came": whole, "one changed": bytes.Replace(without(50), []byte(`"index":`), []byte(`"index":1`), 1),
	} {
		var r Redecoder
		before := whole
		if name == "one came" {
			before = without(50)
		}
		if _, err := r.Decode(before); err != nil {
			t.Fatal(err)
		}
		hb := r.byDEA[string(probableDEA(before))]
		if hb == nil || !r.update(hb, next) || len(r.fresh) > 1 {
			t.Errorf("%s: the payload was not compared, or %d of its entries were decoded", name, len(r.fresh))
		}
		agree(t, &r, next)
	}
}

// TestRedecoderKeepsNoTexts: of each entry it keeps a few bytes.
func TestRedecoderKeepsNoTexts(t *testing.T) {
	var r Redecoder
	all := 0
	for n := range 20 {
		data := dea(uint64(n), 100)
		if _, err := r.Decode(data); err != nil {
			t.Fatal(err)
		}
		all += len(data)
	}
	if len(r.byDEA) != 20 || r.size == 0 || r.size > all/10 {
		t.Errorf("of %d bytes in the payloads of 20 DEAs it keeps %d, of %d DEAs", all, r.size, len(r.byDEA))
	}
}
