package sqldb

import (
	"context"
	"math"
)

// scanRows is how many rows a scan may read for each process of the pass. A look-up takes about as long.
const scanRows = 40

// scan reads the tables apps, packages and droplets in the order of their ids. If they have more than scanRows rows for
// each process of the pass, it gives up, and all apps are looked up.
func (r *reading) scan(ctx context.Context) error {
	left := r.scanRows * len(r.pass.rows)
	for table := range r.snap.plan.scans {
		after := int64(math.MinInt64 + 1) // PostgreSQL takes the lowest number for a decimal
		for n := -1; n != 0; {
			n = 0
			statement := r.snap.plan.scan(table, after, r.options.BatchSize)
			err := r.snap.conn.query(ctx, statement, nil, func(v [][]byte) (err error) {
				n++
				if after, err = idAfter(v[colID], after); err != nil {
					return err
				}
				return r.pass.addRow(table, v)
			})
			if err != nil {
				return err
			}
			r.pageRead()
			if left -= n; left < 0 {
				r.pass.lookUpAll()
				return nil
			}
		}
	}
	return nil
}

// addRow adds a row of apps (0), packages (1) or droplets (2) to its app.
func (p *pass) addRow(table int, v [][]byte) error {
	uuid, lower, ok := uuidOf(v[colOwner]) // of apps: the guid
	if !ok {
		return nil
	}
	i, ok := p.byGUID.find(&p.owners, uuid)
	if !ok {
		return nil // the app of another process, or of none
	}
	o := p.owners.at(i)
	if !lower { // whether letter case counts is up to the database
		o.lookUp = true
		return nil
	}
	switch table {
	case 0:
		o.addApp(v[colGUID])
		return nil
	case 1:
		return o.addPackage(v)
	}
	return o.addDroplet(v)
}

// lookUpAll makes all apps be looked up.
func (p *pass) lookUpAll() {
	for i := range p.owners.n {
		p.owners.at(i).lookUp = true
	}
}
