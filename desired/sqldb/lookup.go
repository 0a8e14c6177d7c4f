package sqldb

import "context"

// lookUpsAtOnce is how many apps one statement looks up. All databases use an index for so many. With more, or with a
// join to the processes, some do not.
const lookUpsAtOnce = 500

// lookUp looks up the apps that the scan has left out, or has not found: the database says which rows belong to them.
func (r *reading) lookUp(ctx context.Context) error {
	var ids []int64 // of processes
	of := map[int64]uint32{}
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		err := r.lookUpSome(ctx, ids, of)
		ids = ids[:0]
		clear(of)
		return err
	}
	for _, row := range r.pass.rows {
		o := r.pass.owners.at(int(row.owner))
		if !o.lookUp && o.joined == 1 {
			continue
		}
		*o = owner{uuid: o.uuid, joined: 1} // not again for another process of the app
		ids = append(ids, row.id)
		of[row.id] = row.owner
		if len(ids) == lookUpsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// lookUpSome looks up the apps of some processes. of has the index in pass.owners.
func (r *reading) lookUpSome(ctx context.Context, ids []int64, of map[int64]uint32) error {
	for _, i := range of {
		r.pass.owners.at(int(i)).joined = 0
	}
	var found []joined
	var last int64
	err := r.snap.conn.query(ctx, r.snap.plan.joins(ids), nil, func(v [][]byte) (err error) {
		if last, err = idAfter(v[0], last); err != nil {
			return err
		}
		if i, ok := of[last]; ok {
			r.pass.owners.at(int(i)).addApp(v[2])
			found = append(found, joined{owner: int(i), guid: string(v[1])})
		}
		return nil
	})
	for err == nil && len(found) > 0 {
		found, err = r.lookUpArtifacts(ctx, found)
	}
	return err
}

// joined is a process that has an app.
type joined struct {
	owner int    // index in pass.owners
	guid  string // of the app, in the letter case of the row of the process
}

// lookUpArtifacts looks up the packages and droplets of apps. It returns the apps whose guid differs from that of
// another one in letter case only. They are for another call: what belongs to which of them is up to the database.
func (r *reading) lookUpArtifacts(ctx context.Context, apps []joined) (later []joined, err error) {
	owners := map[string][]int{} // by guid in lower case
	spelled := map[string]string{}
	var guids []string
	for _, a := range apps {
		lower := lowerGUID([]byte(a.guid))
		switch have, ok := spelled[lower]; {
		case !ok:
			spelled[lower] = a.guid
			guids = append(guids, a.guid)
		case have != a.guid:
			later = append(later, a)
			continue
		}
		owners[lower] = append(owners[lower], a.owner)
	}
	for table, add := range [...]func(*owner, [][]byte) error{(*owner).addPackage, (*owner).addDroplet} {
		statement := r.snap.plan.artifacts[table] + r.snap.dialect.among(len(guids))
		err := r.snap.conn.query(ctx, statement, r.snap.dialect.list(guids), func(v [][]byte) error {
			for _, i := range owners[lowerGUID(v[colOwner])] { // none: the database takes other texts for equal, too
				if err := add(r.pass.owners.at(i), v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return later, nil
}
