package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"hm/internal/app"
)

// bits are a v3 app's newest droplet, or its newest package.
type bits struct {
	id      int64 // 0: there is none
	created string
	guid    string
	state   string
	from    string // guid of the package that a droplet was made of; empty: none
}

// newer reports whether b counts and o does not: by time of creation, then by id (D22).
func (b bits) newer(o bits) bool {
	return o.id == 0 || b.created > o.created || b.created == o.created && b.id > o.id
}

// packageState is what the Cloud Controller computed from an app's newest droplet, its newest package, and the guid of
// the droplet that it is to run (D22). A newer droplet that nobody has assigned makes it PENDING, although the app
// runs (W56): that is what the Cloud Controller answers, and what it goes by when it is asked for a start.
func packageState(droplet, pack bits, current string) string {
	failed := pack.id != 0 && pack.state == "FAILED"
	switch {
	case droplet.id == 0 && failed:
		return "FAILED"
	case droplet.id == 0:
		return "PENDING"
	case droplet.state == "FAILED":
		return "FAILED"
	case current != droplet.guid:
		return "PENDING"
	case pack.id == 0, droplet.from == pack.guid, droplet.created > pack.created:
		return "STAGED"
	case failed:
		return "FAILED"
	}
	return "PENDING"
}

// ownersAtOnce is for how many apps droplets are asked for in one statement. All databases find this many in an
// index; asked for a page's newest in one statement with it, some do not.
const ownersAtOnce = 500

// settle finds the package states of the rows of a v3 page, and takes them.
func (r *reading) settle(ctx context.Context) error {
	for chunk := range slices.Chunk(r.page, ownersAtOnce) {
		var newest [2]map[string]bits           // droplets and packages by app
		owners := make([]string, 0, len(chunk)) // as they are written
		for i := range newest {
			newest[i] = make(map[string]bits, len(chunk))
		}
		for _, c := range chunk {
			owner := caseless(c.owner)
			if _, ok := newest[0][owner]; !ok || owner != c.owner {
				owners = append(owners, c.owner)
			}
			newest[0][owner], newest[1][owner] = bits{}, bits{}
		}
		for i, into := range newest {
			err := r.snap.conn.query(ctx, r.snap.plan.bits[i]+r.snap.dialect.among(len(owners)), r.snap.dialect.list(owners), func(v [][]byte) error { return note(into, v) })
			if err != nil {
				return err
			}
		}
		for _, c := range chunk {
			owner := caseless(c.owner)
			if err := r.take(c, []byte(packageState(newest[0][owner], newest[1][owner], caseless(c.current)))); err != nil {
				return err
			}
		}
	}
	r.page = r.page[:0]
	return nil
}

// note takes one droplet or package: app, id, guid, state, time of creation, package.
func note(newest map[string]bits, v [][]byte) error {
	owner := caseless(string(v[0]))
	old, ok := newest[owner]
	if !ok {
		return nil // databases that take no notice of case
	}
	id, err := strconv.ParseInt(string(v[1]), 10, 64)
	if err != nil || id <= 0 {
		return &Error{Kind: BadRows, Err: fmt.Errorf("the id of a droplet or package of app %.40q is %.40q, not a whole number from 1", v[0], v[1]), Hint: "is this the Cloud Controller's table?"}
	}
	if b := (bits{id: id, created: string(v[4])}); b.newer(old) {
		b.guid, b.state, b.from = caseless(string(v[2])), string(v[3]), caseless(string(v[5]))
		newest[owner] = b
	}
	return nil
}

// caseless gives the text by which a guid is compared with others: of a UUID the one in small letters.
func caseless(text string) string {
	if g, err := app.ParseGUID(text); err == nil && app.CapitalsOf(g, text) != 0 {
		return g.String()
	}
	return text
}
