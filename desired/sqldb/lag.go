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

// lag says how far a server was behind its primary at most, measured just before the snapshot was taken. A server that
// is no replica has a known lag of 0.
type lag struct {
	known bool // false: the server does not say, or the role may not see it
	by    time.Duration
}

var noLag = lag{known: true}

// logLag is the lag from which on hm logs it.
const logLag = 10 * time.Second

// appLag is the largest lag with which a single app is read, because such a read does not return its age. With a larger
// lag the app is read in the next complete read.
const appLag = time.Second

// checkApp refuses a snapshot that is too old for the read of a single app.
func (snap *snapshot) checkApp() *Error {
	if snap.lag.by <= appLag {
		return nil
	}
	return &Error{Kind: Stale, Err: fmt.Errorf("replica %q is %v behind its primary", snap.server, snap.lag.by),
		Hint: "hm reads the app in the next complete read"}
}

// errNoAge returns the error for a replica whose age is unknown.
func errNoAge(why string) error {
	return &Error{Kind: Stale, Err: errors.New("it is unknown how far this replica is behind its primary, because " + why),
		Hint: "repair the replication, or remove the server from desired.sql.dsn; " +
			"hm reads the replica again once it follows its primary"}
}

// postgresLag asks a replica for three values: whether it has replayed all that it has received; how long ago the
// primary sent its last message (NULL: it is not connected to a primary, -1: the role may not see it); and how long ago
// the newest replayed transaction was committed (NULL: none since the replica was started). The replica's data is at
// most as old as that transaction. If everything is replayed, it is also at most as old as the primary's last message.
// A connection without messages ends after wal_receiver_timeout, 60 s by default.
const postgresLag = "SELECT CASE WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 1 ELSE 0 END," +
	" (SELECT CASE WHEN r.status IS NULL THEN -1 ELSE " + postgresAge + "r.last_msg_receipt_time) * 1000)::bigint END" +
	" FROM pg_stat_wal_receiver r WHERE r.status IS NULL OR r.status = 'streaming')," +
	" " + postgresAge + "pg_last_xact_replay_timestamp()) * 1000)::bigint"

// postgresLagOld is for servers before version 10, where the functions have other names.
const postgresLagOld = "SELECT CASE WHEN pg_last_xlog_replay_location() >= pg_last_xlog_receive_location()" +
	" THEN 1 ELSE 0 END, -1," +
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
		return lag{}, nil // the server is only compatible with PostgreSQL, or the role may not see this
	}
	return l, err
}

// postgresLagOf computes the lag from the result of postgresLag.
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
		return lag{}, errNoAge("it has replayed nothing since it was started")
	}
	return l, nil
}

// milliseconds parses a number of milliseconds. ok is false for NULL.
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

// maxLag is the largest lag that is returned.
const maxLag = 10 * 365 * 24 * time.Hour

// Error numbers of MySQL.
const (
	mysqlSyntax = 1064 // unknown statement
	mysqlDenied = 1227 // the role may not use this statement
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
			continue // another version of the server
		case mysqlDenied:
			return lag{}, nil
		}
		return lag{}, err
	}
	return lag{}, nil
}

// mysqlLagOf computes the lag from the state of a replica's channels. A server that is no replica has no channels. A
// server that accepts writes and whose channel is stopped is a former replica.
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
			return lag{}, errNoAge("its replication threads do not run")
		case behind == nil:
			continue
		}
		seconds, err := strconv.ParseUint(*behind, 10, 32)
		if err != nil {
			return lag{}, fmt.Errorf("a replica's lag is %.40q, not a whole number", *behind)
		}
		if seconds > 0 { // the server rounds down to whole seconds
			l.by = max(l.by, time.Duration(seconds+1)*time.Second)
		}
	}
	return l, nil
}
