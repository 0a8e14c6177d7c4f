package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// snapshot is an open transaction that sees the database as it was at one point in time.
type snapshot struct {
	conn    conn
	dialect *dialect
	plan    plan
	server  string // identifies the server
	replica bool
	lag     lag
	mark    changeMark
}

// openSnapshot begins a transaction, makes the plan and reads the change mark.
func openSnapshot(ctx context.Context, t target, c conn, schema string, limit time.Duration) (*snapshot, error) {
	snap := &snapshot{conn: c, dialect: t.dialect, server: t.name}
	err := snap.begin(ctx, limit)
	if err != nil {
		return nil, err
	}
	if snap.plan, err = newPlan(ctx, c, t.dialect, schema); err != nil {
		return nil, err
	}
	if snap.mark, err = snap.readMark(ctx); err != nil {
		return nil, fmt.Errorf("read the newest change: %w", err)
	}
	return snap, nil
}

// maxBegins is how often a transaction is begun until it runs on the server whose lag was read.
const maxBegins = 3

// begin reads the server's lag and then begins the transaction. The order matters: a replica catches up meanwhile, so a
// later lag would be too small for the snapshot. A proxy may send the two statements to different servers.
func (snap *snapshot) begin(ctx context.Context, limit time.Duration) error {
	for range maxBegins {
		if err := snap.identifyIfAsked(ctx); err != nil {
			return err
		}
		asked := snap.server
		var err error
		if snap.lag, err = snap.conn.lag(ctx, snap.replica); err != nil {
			return fmt.Errorf("read how far the server is behind its primary: %w", err)
		}
		if err := snap.conn.begin(ctx, limit); err != nil {
			return fmt.Errorf("begin a transaction: %w", err)
		}
		if err := snap.identifyIfAsked(ctx); err != nil {
			return err
		}
		if snap.server == asked {
			return nil
		}
		if err := snap.conn.rollback(ctx); err != nil {
			return fmt.Errorf("end a transaction on another server: %w", err)
		}
	}
	return &Error{Kind: Inconsistent, Hint: hintProxy,
		Err: fmt.Errorf("%d transactions in a row ran on another server than the statement before", maxBegins)}
}

func (snap *snapshot) identifyIfAsked(ctx context.Context) error {
	if snap.dialect.server == "" {
		return nil
	}
	if err := snap.identify(ctx); err != nil {
		return fmt.Errorf("read the identity of the server: %w", err)
	}
	return nil
}

func (snap *snapshot) identify(ctx context.Context) error {
	return snap.conn.query(ctx, snap.dialect.server, nil, func(v [][]byte) error {
		snap.server, snap.replica = string(v[0]), string(v[1]) == "1"
		return nil
	})
}

// verify checks that the transaction still runs on the same server and sees the same data. If a proxy sends statements
// to several servers, or a table has no transactions, the pages are not of one point in time.
func (snap *snapshot) verify(ctx context.Context) error {
	end := *snap
	if err := end.identifyIfAsked(ctx); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	var err error
	if end.mark, err = snap.readMark(ctx); err != nil {
		return fmt.Errorf("read the newest change again: %w", err)
	}
	if end.server != snap.server || end.mark != snap.mark {
		return &Error{Kind: Inconsistent, Hint: hintProxy,
			Err: errors.New("the server, or the data in the transaction, changed during the read")}
	}
	return nil
}

// readMark reads how new the tables are.
func (snap *snapshot) readMark(ctx context.Context) (changeMark, error) {
	var m changeMark
	err := snap.conn.query(ctx, snap.plan.mark, nil, func(v [][]byte) error {
		for i := range len(snap.plan.tables) {
			if id := v[3*i]; id != nil {
				n, err := strconv.ParseInt(string(id), 10, 64)
				if err != nil {
					return fmt.Errorf("%s.id is %.40q, not a whole number", snap.plan.tables[i], id)
				}
				m.ids[i] = n
			}
			m.newest = max(m.newest, string(v[3*i+1]), string(v[3*i+2]))
		}
		return nil
	})
	return m, err
}
