package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"hm/internal/app"
)

// artifact is a v3 app's newest droplet, or its newest package.
type artifact struct {
	id      int64 // 0: there is none
	created string
	guid    string
	state   string
	from    string // of a droplet: guid of its package; empty: none
}

// newer reports whether a is newer than o: by time of creation, then by id (D22).
func (a artifact) newer(o artifact) bool {
	return o.id == 0 || a.created > o.created || a.created == o.created && a.id > o.id
}

// packageState computes the package state as the Cloud Controller does: from an app's newest droplet, its newest
// package, and the guid of its current droplet (D22). It is PENDING if the newest droplet is not the current one,
// although the app runs (W56): the Cloud Controller returns that, and decides with it about a start.
func packageState(droplet, pack artifact, current string) string {
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

// ownersAtOnce is for how many apps one statement reads the droplets. All databases use an index for so many. With the
// droplets of a whole page, or with a join to the page, some do not.
const ownersAtOnce = 500

// addPackageStates reads the package states of the rows in a v3 page and adds the rows to the result.
func (r *reading) addPackageStates(ctx context.Context) error {
	for chunk := range slices.Chunk(r.page, ownersAtOnce) {
		var newest [2]map[string]artifact       // droplets and packages by app
		owners := make([]string, 0, len(chunk)) // in the letter case of the table
		for i := range newest {
			newest[i] = make(map[string]artifact, len(chunk))
		}
		for _, c := range chunk {
			owner := lowerGUID(c.owner)
			if _, ok := newest[0][owner]; !ok || owner != c.owner {
				owners = append(owners, c.owner)
			}
			newest[0][owner], newest[1][owner] = artifact{}, artifact{}
		}
		for i, into := range newest {
			statement := r.snap.plan.artifacts[i] + r.snap.dialect.among(len(owners))
			err := r.snap.conn.query(ctx, statement, r.snap.dialect.list(owners), func(v [][]byte) error {
				return addArtifact(into, v)
			})
			if err != nil {
				return err
			}
		}
		for _, c := range chunk {
			owner := lowerGUID(c.owner)
			if err := r.add(c, []byte(packageState(newest[0][owner], newest[1][owner], lowerGUID(c.current)))); err != nil {
				return err
			}
		}
	}
	r.page = r.page[:0]
	return nil
}

// addArtifact adds one droplet or package to newest. v is app, id, guid, state, time of creation, package.
func addArtifact(newest map[string]artifact, v [][]byte) error {
	owner := lowerGUID(string(v[0]))
	old, ok := newest[owner]
	if !ok {
		return nil // another app: the database ignores letter case
	}
	id, err := strconv.ParseInt(string(v[1]), 10, 64)
	if err != nil || id <= 0 {
		return &Error{Kind: BadRows, Err: fmt.Errorf("the id of a droplet or package of app %.40q is %.40q, not a positive whole number",
			v[0], v[1]),
			Hint: hintTable}
	}
	if a := (artifact{id: id, created: string(v[4])}); a.newer(old) {
		a.guid, a.state, a.from = lowerGUID(string(v[2])), string(v[3]), lowerGUID(string(v[5]))
		newest[owner] = a
	}
	return nil
}

// lowerGUID returns a guid as it is compared with others: a UUID in lower case, any other text as it is.
func lowerGUID(text string) string {
	if g, err := app.ParseGUID(text); err == nil && app.LetterCaseOf(g, text) != 0 {
		return g.String()
	}
	return text
}
