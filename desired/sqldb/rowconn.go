package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// rowConn is a connection through database/sql, for drivers that have no lower layer.
type rowConn struct {
	db   *sql.DB
	conn *sql.Conn
	row  [][]byte // row of the running query
}

// connectRows opens the one connection of a rowConn.
func connectRows(ctx context.Context, connector driver.Connector) (*rowConn, error) {
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &rowConn{db: db, conn: c}, nil
}

func (c *rowConn) exec(ctx context.Context, statement string) error {
	_, err := c.conn.ExecContext(ctx, statement)
	return err
}

func (c *rowConn) query(ctx context.Context, statement string, args []string, row func([][]byte) error) (err error) {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a
	}
	rows, err := c.conn.QueryContext(ctx, statement, list...)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	raw := make([]sql.RawBytes, len(names))
	into := make([]any, len(names))
	for i := range raw {
		into[i] = &raw[i]
	}
	c.row = make([][]byte, len(names))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			c.row[i] = raw[i]
		}
		if err := row(c.row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// named returns all rows of a statement as maps from column name to value. Nil is NULL.
func (c *rowConn) named(ctx context.Context, statement string) (list []map[string]*string, err error) {
	rows, err := c.conn.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values := make([]*string, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make(map[string]*string, len(names))
		for i, name := range names {
			row[name] = values[i]
		}
		if list = append(list, row); len(list) == maxChannels {
			break
		}
	}
	return list, rows.Err()
}

// maxChannels is the most rows that named returns: more than any server has replication channels.
const maxChannels = 1024

func (c *rowConn) rollback(ctx context.Context) error { return c.exec(ctx, "ROLLBACK") }

func (c *rowConn) close() {
	_ = c.conn.Close()
	_ = c.db.Close()
}
