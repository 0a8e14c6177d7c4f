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

// The schemas of the Cloud Controller's tables, for Options.DBSchema.
const (
	SchemaV2 = "v2" // one table apps (D16)
	SchemaV3 = "v3" // processes, apps, packages and droplets (D19)
)

// The time that one transaction may take.
const (
	changeTimeout = 5 * time.Second
	fillTimeout   = 10 * time.Minute // for all apps at once
)

// database keeps the Cloud Controller's apps in the tables of a real Cloud Controller. One more table, hm_simulation,
// marks the database as a simulation's, and counts the changes, so that two simulations do not write to one database.
// Not safe for concurrent use.
type database struct {
	target   dbTarget
	layout   layout
	schema   string
	revision int64     // of hm_simulation, as this simulation left it
	session  dbSession // nil: none is open
	unsure   bool      // the last commit failed, and may have taken effect
	closed   bool
}

// layout is how the apps are kept in the tables of one schema.
type layout struct {
	load  func(*tx) []Row            // ascending id
	add   func(*tx, []Row)           // the database gives the ids
	alter func(x *tx, before, r Row) // writes what differs
	drop  func(*tx, Row)
	id    string // statement: id by guid
}

var layouts = map[string]layout{SchemaV2: layoutV2, SchemaV3: layoutV3}

// openDatabase opens a database, creates the tables if it is empty, and gives the apps in it. An empty schema means the
// one that the database has, and v3 if it is empty.
func openDatabase(ctx context.Context, target dbTarget, schema string) (*database, []Row, error) {
	d := &database{target: target}
	var rows []Row
	err := d.run(ctx, fillTimeout, func(x *tx) {
		switch {
		case x.has("hm_simulation"):
			if !d.readMark(x) {
				return
			}
			if schema != "" && schema != d.schema {
				x.fail(fmt.Errorf("%w: its tables are those of schema %s, not of %s: "+
					"leave the schema out, or name another database", wire.ErrInvalid, d.schema, schema))
				return
			}
		case x.has("apps") || x.has("processes"):
			x.fail(fmt.Errorf("%w: it contains tables of a real Cloud Controller, "+
				"which a simulation must not change: name an empty one", wire.ErrInvalid))
			return
		default:
			if schema == "" {
				schema = SchemaV3
			}
			x.create(schema)
			if !d.readMark(x) {
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

// create creates the tables. The row of hm_simulation comes last, because some databases commit each table by itself.
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

// readMark reads the table hm_simulation.
func (d *database) readMark(x *tx) bool {
	d.schema = ""
	x.query("SELECT schema_name, revision FROM hm_simulation", nil, func(v [][]byte) (err error) {
		d.schema = string(v[0])
		d.revision, err = strconv.ParseInt(string(v[1]), 10, 64)
		return err
	})
	var known bool
	if d.layout, known = layouts[d.schema]; !known && x.err == nil {
		x.fail(fmt.Errorf("%w: this version cannot read the table hm_simulation: "+
			"drop the database's tables to start again", wire.ErrInvalid))
	}
	return x.err == nil
}

// reload reads all apps again, after a commit that failed but may have taken effect.
func (d *database) reload() (rows []Row, err error) {
	err = d.run(context.Background(), changeTimeout, func(x *tx) {
		if d.readMark(x) {
			rows = d.layout.load(x)
		}
	})
	if err == nil {
		d.unsure = false
	}
	return rows, err
}

// insertAll adds apps in one transaction, and gives all apps.
func (d *database) insertAll(ctx context.Context, rows []Row) (all []Row, err error) {
	err = d.write(ctx, fillTimeout, func(x *tx) {
		for part := range slices.Chunk(rows, 10_000) {
			d.layout.add(x, part)
		}
		all = d.layout.load(x)
	})
	return all, err
}

// insert adds an app, and gives its id.
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

// run runs do in a transaction and commits it. After an error the session is closed, and with it the transaction; the
// next call opens a new one.
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
			d.unsure = d.unsure || x.err != nil
		}
		err = x.err
	}
	if err == nil {
		return nil
	}
	d.endSession()
	if !errors.Is(err, wire.ErrInvalid) && !errors.Is(err, wire.ErrConflict) {
		err = fmt.Errorf("%w: %w", wire.ErrUnavailable, err)
	}
	return fmt.Errorf("database %s: %w", d.target.name, err)
}

// begin opens a transaction, on a new session if the last one has failed meanwhile.
func (d *database) begin(ctx context.Context) (*tx, error) {
	if d.session != nil {
		x := &tx{ctx: ctx, session: d.session, target: d.target}
		if x.exec(d.target.begin); x.err == nil {
			return x, nil
		}
		d.endSession()
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

func (d *database) endSession() {
	if d.session != nil {
		d.session.close()
		d.session = nil
	}
}

// close ends the session; from then on every change fails.
func (d *database) close() {
	d.closed = true
	d.endSession()
}
