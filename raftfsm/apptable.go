package raftfsm

import (
	"runtime"
	"slices"

	"github.com/tidwall/btree"

	"hm/desired"
	"hm/internal/app"
)

// appTable has the records of all apps, by handle. The records have no pointers, so the garbage collector does not read
// them. What few apps need beside their record is in a tree.
type appTable struct {
	recs pages[appRec]
	odd  *btree.BTreeG[oddApp]
}

// appRec is the record of one app.
type appRec struct {
	packedKey
	rev       uint64
	grewAt    app.Time
	few       [fewDEAs]uint32 // the slots of the DEAs that hold instances of the app, in any order
	desired   uint32          // instances that the desired row wants
	instances uint32          // number of instance records
	crashes   uint32          // number of crash records, crash marks and crashed instances; at 0 nobody has to search for them
	run       desired.RunState
	pkg       desired.PackageState
	has       bool  // the app has a desired row
	slots     uint8 // number of slots in few, or manyDEAs
}

const (
	fewDEAs  = 4           // how many DEAs a record lists; most apps have no more
	manyDEAs = 1 + fewDEAs // there are more: they are in oddApp.deas
	oddForm  = formSide    // of a guid without a binary form: it is in oddApp.key
)

// packedKey is an app's key without pointers.
type packedKey struct {
	droplet, version         [16]byte // as app.GUID.Binary gives them
	dropletForm, versionForm byte     // likewise; or oddForm; 0: the record is not in use
}

// packGUID gives what packedKey has of a guid.
func packGUID(g app.GUID) (b [16]byte, form byte) {
	if b, form = g.Binary(); form == 0 && !g.IsZero() {
		form = oddForm
	}
	return b, form
}

func packKey(k app.Key) (p packedKey) {
	p.droplet, p.dropletForm = packGUID(k.Droplet)
	p.version, p.versionForm = packGUID(k.Version)
	return p
}

// used reports whether the record is in use.
func (p *packedKey) used() bool { return p.dropletForm != 0 }

// isOdd reports whether the key is in oddApp.
func (p *packedKey) isOdd() bool { return p.dropletForm == oddForm || p.versionForm == oddForm }

// oddApp is what does not fit into the record of an app. It never changes in place.
type oddApp struct {
	app  Handle
	key  app.Key  // if one of its guids has no binary form
	deas []uint32 // the slots of all its DEAs, if there are many
}

func newAppTable() appTable {
	return appTable{odd: tree(func(a, b oddApp) bool { return a.app < b.app })}
}

func (t *appTable) len() int { return t.recs.len() }

// get returns the record of an app for reading. The pointer is valid until the next mut.
func (t *appTable) get(h Handle) *appRec { return t.recs.get(uint32(h)) }

// mut returns the record of an app for writing.
func (t *appTable) mut(h Handle) *appRec { return t.recs.mut(uint32(h)) }

// fetch brings the keys of the instances' apps into the processor's cache. They lie far apart in memory: this waits for many
// at once, where key waits for one after the other.
func (t *appTable) fetch(instances []packed) {
	var read byte
	for i := range instances {
		rec := t.get(instances[i].app)
		read ^= rec.droplet[0] ^ rec.versionForm
	}
	runtime.KeepAlive(read) // else the compiler leaves out the reads
}

// key returns the key of an app; the zero key if the handle is not in use.
func (t *appTable) key(h Handle) app.Key {
	rec := t.get(h)
	if rec.isOdd() {
		return t.oddOf(h).key
	}
	return app.Key{Droplet: app.FromBinary(rec.droplet, rec.dropletForm), Version: app.FromBinary(rec.version, rec.versionForm)}
}

// is reports whether h, which is in use, is the handle of k.
func (t *appTable) is(h Handle, k *app.Key) bool {
	rec := t.get(h)
	if rec.isOdd() {
		return t.oddOf(h).key == *k
	}
	return app.FromBinary(rec.droplet, rec.dropletForm) == k.Droplet && app.FromBinary(rec.version, rec.versionForm) == k.Version
}

// droplet returns the droplet of an app.
func (t *appTable) droplet(h Handle) app.GUID {
	if rec := t.get(h); rec.dropletForm != oddForm {
		return app.FromBinary(rec.droplet, rec.dropletForm)
	}
	return t.oddOf(h).key.Droplet
}

// row returns the desired row of an app without its letter case. State.row returns all of it.
func (t *appTable) row(h Handle) desired.App {
	a := t.get(h)
	if !a.has {
		return desired.App{}
	}
	return desired.App{Key: t.key(h), Instances: a.desired, State: a.run, Package: a.pkg}
}

// push adds a record for an app. It lists no DEAs.
func (t *appTable) push(k app.Key, rec appRec) Handle {
	rec.packedKey = packKey(k)
	rec.few, rec.slots = [fewDEAs]uint32{}, 0
	h := Handle(t.recs.push(rec))
	if rec.isOdd() {
		t.odd.Set(oddApp{app: h, key: k})
	}
	return h
}

// set replaces the record of a handle. The new record lists no DEAs.
func (t *appTable) set(h Handle, k app.Key, rec appRec) {
	rec.packedKey = packKey(k)
	rec.few, rec.slots = [fewDEAs]uint32{}, 0
	*t.mut(h) = rec
	if rec.isOdd() {
		t.odd.Set(oddApp{app: h, key: k})
	} else if t.odd.Len() > 0 {
		t.odd.Delete(oddApp{app: h})
	}
}

// deas returns the slots of the DEAs that hold instances of an app, in any order. It is valid until the app changes.
func (t *appTable) deas(h Handle) []uint32 {
	rec := t.get(h)
	if rec.slots == manyDEAs {
		return t.oddOf(h).deas
	}
	return rec.few[:rec.slots]
}

// addDEA adds a slot that is not listed.
func (t *appTable) addDEA(h Handle, slot uint32) {
	rec := t.mut(h)
	if rec.slots < fewDEAs {
		rec.few[rec.slots] = slot
		rec.slots++
		return
	}
	t.setDEAs(h, append(t.deas(h), slot)) // a frozen copy does not see beyond its own length
}

// removeDEA removes a slot.
func (t *appTable) removeDEA(h Handle, slot uint32) {
	t.setDEAs(h, slices.DeleteFunc(slices.Clone(t.deas(h)), func(x uint32) bool { return x == slot }))
}

// setDEAs replaces the slots of an app. It takes ownership of slots.
func (t *appTable) setDEAs(h Handle, slots []uint32) {
	rec := t.mut(h)
	odd := oddApp{app: h}
	if rec.slots == manyDEAs || rec.isOdd() {
		odd = t.oddOf(h)
	}
	rec.few = [fewDEAs]uint32{}
	if len(slots) > fewDEAs {
		rec.slots, odd.deas = manyDEAs, slots
	} else {
		rec.slots, odd.deas = uint8(copy(rec.few[:], slots)), nil
	}
	if rec.slots == manyDEAs || rec.isOdd() {
		t.odd.Set(odd)
	} else {
		t.odd.Delete(odd)
	}
}

func (t *appTable) oddOf(h Handle) oddApp {
	o, _ := t.odd.Get(oddApp{app: h})
	return o
}

// freeze returns a copy that later changes to t do not alter.
func (t *appTable) freeze() appTable { return appTable{recs: t.recs.freeze(), odd: t.odd.Copy()} }
