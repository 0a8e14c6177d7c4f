package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// lag is how far a server was behind its primary, at most, at some moment before the snapshot was taken. Of a server that
// is no replica it is known to be nothing.
type lag struct {
	known bool // false: the server does not tell, or not this role
	by    time.Duration
}

var noLag = lag{known: true}

// logLag is from how far behind on a replica's lag is logged.
const logLag = 10 * time.Second

// appLag is how far a replica may be behind for the read of a single app, whose age nobody is told. Beyond it the app is
// read with all others.
const appLag = time.Second

// checkApp refuses a snapshot that is too old for the read of a single app.
func (snap *snapshot) checkApp() *Error {
	if snap.lag.by <= appLag {
		return nil
	}
	return &Error{Kind: Stale, Err: fmt.Errorf("replica %q is %v behind its primary", snap.server, snap.lag.by), Hint: "the app is read with all others"}
}

// errNoAge says that a replica shows some past moment of the primary, and not which.
func errNoAge(why string) error {
	return &Error{Kind: Stale, Err: errors.New("nobody knows how far this replica is behind its primary, " + why),
		Hint: "it is read again once it follows its primary; mend the replication, or take the server out of desired.sql.dsn"}
}

// postgresLag asks a replica for three things: whether it has replayed all that it has received; how long ago its
// primary was heard, NULL if it is not connected to one, -1 if the role may not see it; and how long ago the newest
// transaction that it has replayed was committed, NULL if there was none since it was started. What it shows is not older
// than the last; nor, if all is replayed, than the word of the primary. A connection without a word ends after
// wal_receiver_timeout, which is 60 s by default.
const postgresLag = "SELECT CASE WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 1 ELSE 0 END," +
	" (SELECT CASE WHEN r.status IS NULL THEN -1 ELSE " + postgresAge + "r.last_msg_receipt_time) * 1000)::bigint END" +
	" FROM pg_stat_wal_receiver r WHERE r.status IS NULL OR r.status = 'streaming')," +
	" " + postgresAge + "pg_last_xact_replay_timestamp()) * 1000)::bigint"

// postgresLagOld is for servers before 10, which have other names for it.
const postgresLagOld = "SELECT CASE WHEN pg_last_xlog_replay_location() >= pg_last_xlog_receive_location() THEN 1 ELSE 0 END, -1," +
	" " + postgresAge + "pg_last_xact_replay_timestamp()) * 1000)::bigint"

const postgresAge = "ceil(extract(epoch from clock_timestamp() - "

func (c *postgresConn) lag(ctx context.Context, replica bool) (lag, error) {
	if !replica {
		return noLag, nil
	}
	statement := postgresLag
	if major, _, _ := strings.Cut(c.pg.ParameterStatus("server_version"), "."); len(major) == 1 {
		statement = postgresLagOld
	}
	var l lag
	err := c.query(ctx, statement, nil, func(v [][]byte) (err error) {
		l, err = postgresLagOf(v)
		return err
	})
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && ctx.Err() == nil {
		return lag{}, nil // a server that only speaks like PostgreSQL, or keeps this from the role
	}
	return l, err
}

// postgresLagOf judges what postgresLag gives.
func postgresLagOf(v [][]byte) (lag, error) {
	heard, connected, err := milliseconds(v[1])
	if err != nil {
		return lag{}, err
	}
	committed, replayed, err := milliseconds(v[2])
	if err != nil {
		return lag{}, err
	}
	l := lag{known: true, by: max(committed, 0)} // clocks may differ
	switch all := string(v[0]) == "1"; {
	case all && connected && heard < 0:
		l.by = 0
	case all && connected && (!replayed || heard < l.by):
		l.by = heard
	case !replayed:
		return lag{}, errNoAge("for it has replayed nothing since it was started")
	}
	return l, nil
}

// milliseconds reads a whole number; ok is false for NULL.
func milliseconds(text []byte) (d time.Duration, ok bool, err error) {
	if text == nil {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("a replica's lag is %.40q, not a whole number", text)
	}
	const limit = int64(maxLag / time.Millisecond)
	return time.Duration(max(min(n, limit), -limit)) * time.Millisecond, true, nil
}

// maxLag is what a longer lag counts as.
const maxLag = 10 * 365 * 24 * time.Hour

// MySQL's errors of a statement that it does not know, and of one that the role may not give.
const (
	mysqlSyntax   = 1064
	mysqlNotGiven = 1227
)

func (c *mysqlConn) lag(ctx context.Context, readOnly bool) (lag, error) {
	for _, statement := range []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"} {
		rows, err := c.named(ctx, statement)
		switch mysqlNumber(err) {
		case 0:
			if err != nil {
				return lag{}, err
			}
			return mysqlLagOf(rows, readOnly)
		case mysqlSyntax:
			continue // an older server, or a newer one
		case mysqlNotGiven:
			return lag{}, nil
		}
		return lag{}, err
	}
	return lag{}, nil
}

// mysqlLagOf judges the state of a replica's channels; of a server that is no replica there is none. A server that takes
// writes and follows nobody was a replica once.
func mysqlLagOf(channels []map[string]*string, readOnly bool) (lag, error) {
	l := noLag
	for _, channel := range channels {
		behind, found := channel["Seconds_Behind_Source"]
		if !found {
			behind, found = channel["Seconds_Behind_Master"]
		}
		switch {
		case !found:
			return lag{}, nil
		case behind == nil && readOnly:
			return lag{}, errNoAge("for its replication threads do not run")
		case behind == nil:
			continue
		}
		seconds, err := strconv.ParseUint(*behind, 10, 32)
		if err != nil {
			return lag{}, fmt.Errorf("a replica's lag is %.40q, not a whole number", *behind)
		}
		if seconds > 0 { // whole seconds
			l.by = max(l.by, time.Duration(seconds+1)*time.Second)
		}
	}
	return l, nil
}

// lag of a file is none.
func (c *sqliteConn) lag(context.Context, bool) (lag, error) { return noLag, nil }
