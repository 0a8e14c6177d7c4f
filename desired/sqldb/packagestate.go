package sqldb

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"

	"hm/internal/app"
)

// owner is what the package state of a v3 app depends on. Its size does not depend on the rows. The row of apps must be
// added first, then the packages, then the droplets.
type owner struct {
	uuid    textID // of the app
	joined  uint8  // rows of apps: 0, 1, or 2 for more
	lookUp  bool   // only the database can say which rows belong to the app
	current textID
	pack    newestRow
	packed  struct { // of the newest package
		guid   textID
		failed bool
	}
	droplet newestRow
	staged  struct { // of the newest droplet
		failed, isCurrent bool
		fromNewest, later bool // it was made from the newest package, or later than that
	}
}

// newestRow says which of an app's droplets or packages is the newest one.
type newestRow struct {
	id      int64         // 0: there is none
	created [cutTime]byte // time as text that sorts by time; zero: NULL
}

// replaces reports whether a row is newer than n, by time of creation, then by id (D22). If it is, n becomes that row.
func (n *newestRow) replaces(id int64, created []byte) bool {
	row := newestRow{id: id}
	copy(row.created[:], created)
	if c := bytes.Compare(row.created[:], n.created[:]); n.id != 0 && (c < 0 || c == 0 && id <= n.id) {
		return false
	}
	*n = row
	return true
}

// addApp adds a row of apps.
func (o *owner) addApp(droplet []byte) {
	o.joined = min(o.joined+1, 2)
	o.current = textIDOf(droplet)
}

// The columns of packages and droplets.
const (
	colID = iota
	colOwner
	colGUID
	colState
	colCreated
	colFrom // of a droplet: guid of its package
)

// addPackage adds a row of packages.
func (o *owner) addPackage(v [][]byte) error {
	id, err := artifactID(v)
	if err == nil && o.pack.replaces(id, v[colCreated]) {
		o.packed.guid, o.packed.failed = textIDOf(v[colGUID]), string(v[colState]) == "FAILED"
	}
	return err
}

// addDroplet adds a row of droplets.
func (o *owner) addDroplet(v [][]byte) error {
	id, err := artifactID(v)
	if err == nil && o.droplet.replaces(id, v[colCreated]) {
		o.staged.failed = string(v[colState]) == "FAILED"
		o.staged.isCurrent = textIDOf(v[colGUID]) == o.current
		o.staged.fromNewest = textIDOf(v[colFrom]) == o.packed.guid
		o.staged.later = bytes.Compare(o.droplet.created[:], o.pack.created[:]) > 0
	}
	return err
}

func artifactID(v [][]byte) (int64, error) {
	id, err := strconv.ParseInt(string(v[colID]), 10, 64)
	if err != nil || id <= 0 {
		return 0, &Error{Kind: BadRows, Err: fmt.Errorf(
			"the id of a droplet or package of app %.40q is %.40q, not a positive whole number", v[colOwner], v[colID]),
			Hint: hintTable}
	}
	return id, nil
}

// packageState computes the package state as the Cloud Controller does: from an app's newest droplet, its newest
// package, and the guid of its current droplet (D22). It is PENDING if the newest droplet is not the current one,
// although the app runs (W56): the Cloud Controller returns that, and decides with it about a start.
func (o *owner) packageState() string {
	switch {
	case o.droplet.id == 0 && o.packed.failed:
		return "FAILED"
	case o.droplet.id == 0:
		return "PENDING"
	case o.staged.failed:
		return "FAILED"
	case !o.staged.isCurrent:
		return "PENDING"
	case o.pack.id == 0, o.staged.fromNewest, o.staged.later:
		return "STAGED"
	case o.packed.failed:
		return "FAILED"
	}
	return "PENDING"
}

// textID stands for a text that is only compared: a UUID in either letter case, NULL or an empty text (zero), or the
// start of the SHA-256 of any other text.
type textID [16]byte

func textIDOf(text []byte) textID {
	if len(text) == 0 {
		return textID{}
	}
	if len(text) == 36 || len(text) == 32 { // ParseGUIDBytes interns other texts, which takes longer than all the rest
		g, _ := app.ParseGUIDBytes(text)
		switch b, form := g.Binary(); form {
		case 'u':
			return b
		case 'h':
			text = g.AppendTo(nil)
		}
	}
	sum := sha256.Sum256(text)
	return textID(sum[:16])
}

// uuidOf returns a UUID, and whether it is in lower case. ok is false for any other text.
func uuidOf(text []byte) (id textID, lower, ok bool) {
	if len(text) != 36 {
		return id, false, false
	}
	g, err := app.ParseGUIDBytes(text)
	b, form := g.Binary()
	return b, app.LetterCaseOf(g, text) == 0, err == nil && form == 'u'
}

// lowerGUID returns a guid as it is compared with others: a UUID in lower case, any other text as it is.
func lowerGUID(text []byte) string {
	if g, err := app.ParseGUIDBytes(text); err == nil && app.LetterCaseOf(g, text) != 0 {
		return g.String()
	}
	return string(text)
}
