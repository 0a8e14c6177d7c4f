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
	lag     lag
	mark    mark
}

// openSnapshot begins a transaction, looks at the tables, and at how new they are.
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
		return nil, fmt.Errorf("ask for the newest change: %w", err)
	}
	return snap, nil
}

// maxBegins is how often a transaction is begun until it is on the server whose lag was asked for.
const maxBegins = 3

// begin asks how far the server lags, and begins the transaction. The order matters: a replica catches up meanwhile, so
// that what it says afterwards is too little for the snapshot. A proxy may pass the two on to different servers.
func (snap *snapshot) begin(ctx context.Context, limit time.Duration) error {
	for range maxBegins {
		if err := snap.identifyIfAsked(ctx); err != nil {
			return err
		}
		asked := snap.server
		var err error
		if snap.lag, err = snap.conn.lag(ctx, snap.replica); err != nil {
			return fmt.Errorf("ask how far this server lags behind: %w", err)
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
	return &Error{Kind: Inconsistent, Err: fmt.Errorf("%d transactions in a row were on other servers than the statements before them", maxBegins),
		Hint: "is there a proxy between hm and the database that spreads statements over servers?"}
}

func (snap *snapshot) identifyIfAsked(ctx context.Context) error {
	if snap.dialect.server == "" {
		return nil
	}
	if err := snap.identify(ctx); err != nil {
		return fmt.Errorf("ask which server this is: %w", err)
	}
	return nil
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
	if err := end.identifyIfAsked(ctx); err != nil {
		return fmt.Errorf("at the end: %w", err)
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
