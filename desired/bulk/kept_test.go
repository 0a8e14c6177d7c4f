package bulk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hm/desired"
)

// TestAKeptReadChangesNothing: a Source that has read before reads the same as a new one, whatever has changed between two
// reads: rows that are edited, new, deleted, repeated, unreadable or contradictory.
func TestAKeptReadChangesNothing(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		_, rows := fleet(60)
		cc := &controller{rows: rows}
		old := cc.serve(t, Options{BatchSize: 7})
		seen := map[[16]byte]string{} // by digest
		for step := range 30 {
			what := change(random, cc)
			got, gotErr := old.Read(context.Background())
			want, wantErr := cc.serve(t, Options{BatchSize: 7}).Read(context.Background())
			text := fmt.Sprint(got.Apps)
			if before, known := seen[got.Digest]; known && got.Digest != [16]byte{} && text != before {
				t.Fatalf("seed %d, step %d, %s: the digest is that of other apps", seed, step, what)
			}
			if len(got.Unreadable) > 0 && got.Digest != [16]byte{} {
				t.Fatalf("seed %d, step %d, %s: unreadable rows have a digest", seed, step, what)
			}
			seen[got.Digest] = text
			got.Source, want.Source, got.Digest, want.Digest = "", "", [16]byte{}, [16]byte{}
			if fmt.Sprint(got) != fmt.Sprint(want) || (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("seed %d, step %d, %s:\nit reads %d apps, %v unreadable, error %v\na new one %d apps, %v unreadable, error %v",
					seed, step, what, len(got.Apps), got.Unreadable, gotErr, len(want.Apps), want.Unreadable, wantErr)
			}
		}
	}
}

// change changes the rows of a Cloud Controller in one way, and says how.
func change(random *rand.Rand, cc *controller) string {
	n := len(cc.rows)
	at := random.IntN(n)
	switch random.IntN(12) {
	case 0, 1:
		return "nothing"
	case 2, 3:
		cc.rows[at] = strings.Replace(cc.rows[at], `"STARTED"`, `"STOPPED"`, 1)
		return fmt.Sprintf("row %d is stopped", at)
	case 4:
		_, more := fleet(100 + random.IntN(50))
		if row := more[len(more)-1]; !slices.Contains(cc.rows, row) {
			cc.rows = append(cc.rows, row)
		}
		return "a row is new"
	case 5:
		if n > 10 {
			cc.rows = slices.Delete(slices.Clone(cc.rows), at, at+1)
		}
		return fmt.Sprintf("row %d is deleted", at)
	case 6:
		cc.rows = append(cc.rows, cc.rows[at])
		return fmt.Sprintf("row %d is repeated at the end", at)
	case 7:
		cc.rows[at] = strings.Replace(cc.rows[at], `"instances":`, `"instances":"x","i":`, 1)
		return fmt.Sprintf("row %d is unreadable", at)
	case 8:
		cc.rows[at] = strings.ReplaceAll(cc.rows[at], "-4f00-8abc-", "-4F00-8aBC-")
		return fmt.Sprintf("row %d has guids in capital letters", at)
	case 9:
		cc.rows[at] = strings.Replace(cc.rows[at], `"version":"`, `"version":"v-`, 1)
		return fmt.Sprintf("row %d has a version that is no UUID", at)
	case 10:
		cc.rows[at] = strings.ReplaceAll(cc.rows[at], "-0000-4f00-8abc-", "00004f008abc")
		return fmt.Sprintf("row %d has a version without hyphens", at)
	default:
		cc.rows = slices.DeleteFunc(slices.Clone(cc.rows), func(row string) bool { return strings.Contains(row, `"i":`) })
		slices.Sort(cc.rows)
		cc.rows = slices.Compact(cc.rows)
		return "all is well again"
	}
}

// TestUnchangedPagesAreNotDecodedAgain: if nothing has changed, a read decodes no row; if one page has, only its rows.
func TestUnchangedPagesAreNotDecodedAgain(t *testing.T) {
	apps, rows := fleet(20)
	cc := &controller{rows: rows}
	s := cc.serve(t, Options{BatchSize: 5})
	again := func() (*reading, desired.Read) {
		t.Helper()
		s.reading <- struct{}{}
		r := s.newRead()
		read, _, err := r.run(context.Background())
		<-s.reading
		if err != nil {
			t.Fatal(err)
		}
		return r, read
	}
	first := mustRead(t, s)
	clear(first.Apps) // a read belongs to who asked for it
	if r, read := again(); r.decoded != 0 || r.sames != 4 || !slices.Equal(read.Apps, apps) {
		t.Errorf("nothing has changed: %d rows are decoded, %d pages are kept, the apps are %v", r.decoded, r.sames, read.Apps)
	}
	cc.change(func(c *controller) { c.rows[7] = strings.Replace(c.rows[7], `"STARTED"`, `"STOPPED"`, 1) })
	apps[7].State = desired.Stopped
	if r, read := again(); r.decoded != 5 || r.sames != 3 || !slices.Equal(read.Apps, apps) {
		t.Errorf("one row has changed: %d are decoded, %d pages are kept, the apps are %v", r.decoded, r.sames, read.Apps)
	}
}

// TestADigestSaysWhetherAReadChanged: reads with the same pages have the same digest, and reads with other pages have
// another one. It depends on a secret of the Source.
func TestADigestSaysWhetherAReadChanged(t *testing.T) {
	_, rows := fleet(20)
	cc := &controller{rows: rows}
	s := cc.serve(t, Options{BatchSize: 5})
	first := mustRead(t, s).Digest
	if first == [16]byte{} || mustRead(t, s).Digest != first {
		t.Errorf("the digest is %x, and another one of the same pages", first)
	}
	if got := mustRead(t, cc.serve(t, Options{BatchSize: 5})).Digest; got == first {
		t.Error("another Source gives the same digest")
	}
	digests := map[[16]byte]string{first: "the first read"}
	for _, c := range []struct {
		what string
		how  func(c *controller)
	}{
		{"a row is stopped", func(c *controller) { c.rows[7] = strings.Replace(c.rows[7], `"STARTED"`, `"STOPPED"`, 1) }},
		{"pages change places", func(c *controller) { c.rows = slices.Concat(c.rows[5:10], c.rows[:5], c.rows[10:]) }},
		{"the last page is gone", func(c *controller) { c.rows = c.rows[:15] }},
	} {
		cc.change(c.how)
		got := mustRead(t, s).Digest
		if before, known := digests[got]; known || got == [16]byte{} {
			t.Errorf("%s: the digest is %x, as of %s", c.what, got, before)
		}
		digests[got] = c.what
	}
	cc.change(func(c *controller) { c.rows = append(slices.Clone(c.rows), c.rows[0]) })
	if got := mustRead(t, s).Digest; got != [16]byte{} {
		t.Errorf("a read with a repeated row has the digest %x", got)
	}
}
