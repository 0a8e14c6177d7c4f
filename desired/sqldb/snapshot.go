package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// snapshot is an open transaction that sees the database as it was at one moment.
type snapshot struct {
	conn    conn
	dialect *dialect
	plan    plan
	server  string // tells it from others
	replica bool
	mark    mark
}

// openSnapshot begins a transaction, looks at the tables, and at how new they are.
func openSnapshot(ctx context.Context, t target, c conn, schema string, limit time.Duration) (*snapshot, error) {
	if err := c.begin(ctx, limit); err != nil {
		return nil, fmt.Errorf("begin a transaction: %w", err)
	}
	snap := &snapshot{conn: c, dialect: t.dialect, server: t.name}
	if t.dialect.server != "" {
		if err := snap.identify(ctx); err != nil {
			return nil, fmt.Errorf("ask which server this is: %w", err)
		}
	}
	var err error
	if snap.plan, err = newPlan(ctx, c, t.dialect, schema); err != nil {
		return nil, err
	}
	if snap.mark, err = snap.readMark(ctx); err != nil {
		return nil, fmt.Errorf("ask for the newest change: %w", err)
	}
	return snap, nil
}

func (snap *snapshot) identify(ctx context.Context) error {
	return snap.conn.query(ctx, snap.dialect.server, nil, func(v [][]byte) error {
		snap.server, snap.replica = string(v[0]), string(v[1]) == "1"
		return nil
	})
}

// verify shows that the transaction is still on the server that it was begun on, and sees what it saw. A proxy that
// spreads statements over servers, or a table without transactions, would have the pages be of several moments.
func (snap *snapshot) verify(ctx context.Context) error {
	end := *snap
	if snap.dialect.server != "" {
		if err := end.identify(ctx); err != nil {
			return fmt.Errorf("ask again which server this is: %w", err)
		}
	}
	var err error
	if end.mark, err = snap.readMark(ctx); err != nil {
		return fmt.Errorf("ask again for the newest change: %w", err)
	}
	if end.server != snap.server || end.mark != snap.mark {
		return &Error{Kind: Inconsistent, Err: errors.New("the server, or what the transaction sees of it, changed while it was read"),
			Hint: "is there a proxy between hm and the database that spreads statements over servers?"}
	}
	return nil
}

// readMark asks how new the tables are.
func (snap *snapshot) readMark(ctx context.Context) (mark, error) {
	var m mark
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
