package bulk

import (
	"bytes"
	"crypto/rand"
	"io"
	"slices"

	"github.com/minio/highwayhash"

	"hm/desired"
	"hm/internal/app"
)

// maxKeptPage is the size up to which a page is read whole and looked up before it is decoded. A page of 5,000 apps has
// about 1 MiB.
const maxKeptPage = 4 << 20

// kept is what a complete read leaves to the next one: most pages are byte for byte those of the last read, and need not
// be decoded again. Only a read without any unreadable or repeated row is kept.
type kept struct {
	pages  []keptPage
	rows   packedRows // sorted by droplet
	digest digest     // desired.Read.Digest
}

type keptPage struct {
	digest digest
	rows   int
	token  string // to the next page
}

type digest = [highwayhash.Size128]byte

// digestKey is random, so that nobody can make two pages with the same digest.
type digestKey [highwayhash.Size]byte

func newDigestKey() (k digestKey) {
	_, _ = rand.Read(k[:]) // it never fails
	return k
}

// begin takes the beginning of a page's body: all of it, unless it is larger than maxKeptPage. It gives a reader of the
// whole body or, if the page of this number was the same in the last read, that page.
func (r *reading) begin(body io.Reader) (whole io.Reader, same *keptPage) {
	r.text.Reset()
	n, err := r.text.ReadFrom(io.LimitReader(body, maxKeptPage+1))
	start := bytes.NewReader(r.text.Bytes())
	switch {
	case err != nil: // what came before the error is decoded: an answer that is no page is told as that
		return io.MultiReader(start, failing{err}), nil
	case n > maxKeptPage:
		r.keeps = false
		return io.MultiReader(start, body), nil
	}
	r.digest = highwayhash.Sum128(r.text.Bytes(), r.digestKey[:])
	if number := len(r.pages); number < len(r.last.pages) && r.last.pages[number].digest == r.digest {
		return nil, &r.last.pages[number]
	}
	return start, nil
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// whole gives all apps of this read, sorted by droplet, and the page of each.
func (r *reading) whole() (apps []desired.App, page []uint32) {
	fresh, freshPage := r.sorted()
	if len(r.same) == 0 {
		return fresh, freshPage
	}
	apps, page = make([]desired.App, 0, r.rows), make([]uint32, 0, r.rows)
	next := 0
	for i := range r.last.rows.packed {
		on := r.last.rows.packed[i].page
		if !r.same[on] {
			continue
		}
		a := r.last.rows.app(i)
		for ; next < len(fresh) && fresh[next].Key.Droplet.Compare(a.Key.Droplet) < 0; next++ {
			apps, page = append(apps, fresh[next]), append(page, freshPage[next])
		}
		apps, page = append(apps, a), append(page, on)
	}
	return append(apps, fresh[next:]...), append(page, freshPage[next:]...)
}

// sorted gives the apps that this read decoded, sorted by droplet, and the page of each.
func (r *reading) sorted() (apps []desired.App, page []uint32) {
	type place struct {
		droplet  app.GUID
		at, page uint32
	}
	places := make([]place, len(r.apps))
	for i := range r.apps {
		places[i] = place{r.apps[i].Key.Droplet, uint32(i), r.appPage[i]}
	}
	slices.SortFunc(places, func(a, b place) int { return a.droplet.Compare(b.droplet) })
	apps, page = make([]desired.App, len(places)), r.appPage
	for i, p := range places {
		apps[i], page[i] = r.apps[p.at], p.page
	}
	r.decoded, r.apps, r.appPage = len(r.apps), nil, nil // a read may be large: it is not kept twice
	return apps, page
}

// keep gives what the next read may use of this one, which was complete.
func (r *reading) keep(read desired.Read, page []uint32) kept {
	if !r.keeps || len(read.Apps) != r.rows || len(read.Unreadable) > 0 {
		return kept{}
	}
	return kept{pages: r.pages, rows: pack(read.Apps, page), digest: r.digestKey.of(r.pages)}
}

// of gives the digest of a read, which has these pages.
func (k *digestKey) of(pages []keptPage) digest {
	digests := make([]byte, 0, len(pages)*len(digest{}))
	for i := range pages {
		digests = append(digests, pages[i].digest[:]...)
	}
	return highwayhash.Sum128(digests, k[:])
}
