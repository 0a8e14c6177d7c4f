package sqldb

import "context"

// appsAtOnce is how many processes one pass has. It limits the memory of a read: a pass holds about 180 bytes for each.
const appsAtOnce = 500_000

// pass adds the package states to some of a v3 database's processes. The rows of their apps, packages and droplets come
// from scans of these tables, in the order of their ids, if there are many processes: a look-up of an app takes as long
// as the scan of many rows. They come from look-ups if there are few processes, and for the apps that only the database
// can tell apart.
type pass struct {
	first  int // index in reading.apps of the first process
	rows   []process
	odd    map[int]candidate // rows that are unreadable, by index in rows
	owners ownerList
	byGUID guidTable // the owners whose guid is a UUID in lower case
}

// process is one row of processes.
type process struct {
	id    int64
	owner uint32 // index in pass.owners
}

// addProcess adds a row of processes to the pass.
func (r *reading) addProcess(c candidate, appGUID []byte) {
	p := &r.pass
	if len(p.rows) == 0 {
		p.first = len(r.apps)
	}
	if c.nameless != nil || c.unreadable != nil {
		if p.odd == nil {
			p.odd = map[int]candidate{}
		}
		p.odd[len(p.rows)] = c
	}
	uuid, lower, ok := uuidOf(appGUID)
	simple := ok && lower
	i, known := 0, false
	if simple {
		i, known = p.byGUID.find(&p.owners, uuid)
	}
	if !known {
		i = p.owners.add(owner{uuid: uuid, lookUp: !simple})
		if simple {
			p.byGUID.add(&p.owners, i)
		}
	}
	p.rows = append(p.rows, process{id: c.id, owner: uint32(i)})
	r.apps = append(r.apps, c.app)
}

// endPass reads what the package states of a pass need, and adds its processes to the result.
func (r *reading) endPass(ctx context.Context) error {
	p := &r.pass
	if len(p.rows) == 0 {
		return nil
	}
	if !r.single {
		if err := r.scan(ctx); err != nil {
			return err
		}
	}
	if err := r.lookUp(ctx); err != nil {
		return err
	}
	apps := r.apps[p.first:]
	r.apps = r.apps[:p.first] // add writes no further than apps was read
	for i, row := range p.rows {
		o := p.owners.at(int(row.owner))
		if o.joined == 0 {
			continue // the process has no app
		}
		c, odd := p.odd[i]
		if !odd {
			c = candidate{id: row.id, app: apps[i]}
		}
		if err := r.add(c, []byte(o.packageState())); err != nil {
			return err
		}
	}
	p.byGUID.clear()
	clear(p.odd)
	p.rows, p.owners.n = p.rows[:0], 0
	return nil
}
