package cc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hm/desired/sqldb/ccschema"
	"hm/internal/sim/wire"
)

// The generations of the Cloud Controller's tables, for Options.DBSchema.
const (
	SchemaV2 = "v2" // one table apps (D16)
	SchemaV3 = "v3" // processes, apps, packages and droplets (D19)
)

// Bounds on the time of one transaction.
const (
	changeTimeout = 5 * time.Second
	layOutTimeout = 10 * time.Minute // all apps at once
)

// database keeps the Cloud Controller's apps in a database, in the tables that a Cloud Controller has. One table of
// its own, hm_simulation, says that the database is a simulation's and not a real Cloud Controller's, and counts
// the changes, so that two simulations do not write to one database. Not safe for concurrent use.
type database struct {
	target   dbTarget
	layout   layout
	schema   string
	revision int64     // of hm_simulation, as this simulation left it
	session  dbSession // nil: none is open
	doubt    bool      // whether the last commit took effect is not known
	closed   bool
}

// layout is how the apps are kept in the tables of one schema.
type layout struct {
	load  func(*tx) []Row            // ascending id
	add   func(*tx, []Row)           // their ids are the database's to give
	alter func(x *tx, before, r Row) // what differs
	drop  func(*tx, Row)             //
	id    string                     // statement: id by guid
}

var layouts = map[string]layout{SchemaV2: layoutV2, SchemaV3: layoutV3}

// openDatabase opens a database, makes the tables in an empty one, and gives the apps in it. schema may be empty:
// what the database has, v3 in an empty one.
func openDatabase(ctx context.Context, target dbTarget, schema string) (*database, []Row, error) {
	d := &database{target: target}
	var rows []Row
	err := d.run(ctx, layOutTimeout, func(x *tx) {
		switch {
		case x.has("hm_simulation"):
			if !d.recall(x) {
				return
			}
			if schema != "" && schema != d.schema {
				x.fail(fmt.Errorf("%w: its tables are those of schema %s, not of %s: leave the schema out, or name another database", wire.ErrInvalid, d.schema, schema))
				return
			}
		case x.has("apps") || x.has("processes"):
			x.fail(fmt.Errorf("%w: there are tables of a Cloud Controller that no simulation has made; it writes to its own database only: name an empty one", wire.ErrInvalid))
			return
		default:
			if schema == "" {
				schema = SchemaV3
			}
			x.create(schema)
			if !d.recall(x) {
				return
			}
		}
		rows = d.layout.load(x)
	})
	if err != nil {
		d.close()
		return nil, nil, err
	}
	return d, rows, nil
}

// create makes the tables. The row of hm_simulation comes last, for databases that commit each table by itself.
func (x *tx) create(schema string) {
	statements, err := ccschema.Statements(x.target.driver, schema)
	if err != nil {
		x.fail(err)
		return
	}
	for _, s := range statements {
		x.exec(s)
	}
	x.exec("CREATE TABLE hm_simulation (schema_name varchar(8) NOT NULL, revision bigint NOT NULL)")
	x.exec("INSERT INTO hm_simulation (schema_name, revision) VALUES (?, 0)", schema)
}

// recall reads what hm_simulation says.
func (d *database) recall(x *tx) bool {
	d.schema = ""
	x.query("SELECT schema_name, revision FROM hm_simulation", nil, func(v [][]byte) (err error) {
		d.schema = string(v[0])
		d.revision, err = strconv.ParseInt(string(v[1]), 10, 64)
		return err
	})
	var known bool
	if d.layout, known = layouts[d.schema]; !known && x.err == nil {
		x.fail(fmt.Errorf("%w: the table hm_simulation says nothing that this version knows: drop the database's tables to start anew", wire.ErrInvalid))
	}
	return x.err == nil
}

// reload reads all apps anew, after a commit of which it is not known whether it took effect.
func (d *database) reload() (rows []Row, err error) {
	err = d.run(context.Background(), changeTimeout, func(x *tx) {
		if d.recall(x) {
			rows = d.layout.load(x)
		}
	})
	if err == nil {
		d.doubt = false
	}
	return rows, err
}

// insertAll adds apps in one transaction, and gives all there are.
func (d *database) insertAll(ctx context.Context, rows []Row) (all []Row, err error) {
	err = d.write(ctx, layOutTimeout, func(x *tx) {
		for part := range slices.Chunk(rows, 10_000) {
			d.layout.add(x, part)
		}
		all = d.layout.load(x)
	})
	return all, err
}

// insert adds an app, and gives the id that it got.
func (d *database) insert(r Row) (id int64, err error) {
	err = d.write(context.Background(), changeTimeout, func(x *tx) {
		d.layout.add(x, []Row{r})
		x.query(d.layout.id, []any{r.GUID}, func(v [][]byte) (err error) {
			id, err = strconv.ParseInt(string(v[0]), 10, 64)
			return err
		})
	})
	return id, err
}

func (d *database) update(before, after Row) error {
	return d.write(context.Background(), changeTimeout, func(x *tx) { d.layout.alter(x, before, after) })
}

func (d *database) remove(r Row) error {
	return d.write(context.Background(), changeTimeout, func(x *tx) { d.layout.drop(x, r) })
}

// write makes one change.
func (d *database) write(ctx context.Context, limit time.Duration, change func(*tx)) error {
	err := d.run(ctx, limit, func(x *tx) {
		change(x)
		if x.exec("UPDATE hm_simulation SET revision = ? WHERE revision = ?", d.revision+1, d.revision) != 1 {
			x.fail(fmt.Errorf("%w: another simulation writes to this database", wire.ErrConflict))
		}
	})
	if err == nil {
		d.revision++
	}
	return err
}

// run runs do in a transaction, which counts if there is no error. After one the session is given up, and with it
// the transaction; the next begins a new one.
func (d *database) run(ctx context.Context, limit time.Duration, do func(*tx)) error {
	if d.closed {
		return wire.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	x, err := d.begin(ctx)
	if err == nil {
		do(x)
		if x.err == nil {
			x.exec("COMMIT")
			d.doubt = d.doubt || x.err != nil
		}
		err = x.err
	}
	if err == nil {
		return nil
	}
	d.hangUp()
	if !errors.Is(err, wire.ErrInvalid) && !errors.Is(err, wire.ErrConflict) {
		err = fmt.Errorf("%w: %w", wire.ErrUnavailable, err)
	}
	return fmt.Errorf("database %s: %w", d.target.name, err)
}

// begin opens a transaction, on a new session if the one that was kept has died meanwhile.
func (d *database) begin(ctx context.Context) (*tx, error) {
	if d.session != nil {
		x := &tx{ctx: ctx, session: d.session, target: d.target}
		if x.exec(d.target.begin); x.err == nil {
			return x, nil
		}
		d.hangUp()
	}
	var err error
	if d.session, err = d.target.open(ctx); err != nil {
		d.session = nil
		return nil, err
	}
	x := &tx{ctx: ctx, session: d.session, target: d.target}
	x.exec(d.target.begin)
	return x, x.err
}

func (d *database) hangUp() {
	if d.session != nil {
		d.session.close()
		d.session = nil
	}
}

// close ends the session; nothing can be changed any more.
func (d *database) close() {
	d.closed = true
	d.hangUp()
}
