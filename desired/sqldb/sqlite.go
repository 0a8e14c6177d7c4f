//go:build !lean

package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// sqliteDialect reads a file. A read does not see what other processes write meanwhile.
var sqliteDialect = dialect{
	parse:    parseSQLite,
	example:  "/path/ccdb.sqlite or file:/path/ccdb.sqlite",
	classify: classifySQLite,
	split:    wholeLine,
	columns: "SELECT m.name, p.name, 1 FROM sqlite_master m JOIN pragma_table_info(m.name) p" +
		" WHERE m.type IN ('table', 'view') AND m.name IN ({})",
	text: "CAST({} AS TEXT)",
	time: "CAST({} AS TEXT)",
	// The writer of the file chooses how it stores booleans: older versions of Sequel write letters.
	isFalse: func(c string) string { return c + " IN (0, 'f', 'false')" },
	isTrue:  func(c string) string { return c + " IN (1, 't', 'true')" },
	among:   amongEach,
	list:    listEach,
}

// parseSQLite parses a path or a file: URI. It refuses the parameters that make a read unsafe.
func parseSQLite(dsn string) ([]target, error) {
	path, query, isURI := dsn, "", false
	for _, scheme := range []string{"file:", "sqlite:"} {
		if rest, ok := strings.CutPrefix(dsn, scheme); ok {
			isURI = true
			path, query, _ = strings.Cut(rest, "?")
			if strings.HasPrefix(path, "//") {
				path = strings.TrimPrefix(strings.TrimPrefix(path, "//localhost"), "//")
			}
			var err error
			if path, err = url.PathUnescape(path); err != nil {
				return nil, errors.New("its path has an invalid %-escape")
			}
		}
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("its parameters cannot be parsed")
	}
	for key, values := range params {
		if isURI && (key != "mode" || len(values) != 1 || values[0] != "ro") {
			return nil, fmt.Errorf(
				"its parameter %.40q is not allowed: only mode=ro is, because other processes write to the file", key)
		}
	}
	if path == "" || strings.Contains(path, ":memory:") || strings.ContainsRune(path, 0) {
		return nil, errors.New("it must name a file")
	}
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=ro&_pragma=query_only(1)"
	return []target{{name: path, connect: func(ctx context.Context) (conn, error) {
		connector, err := sqlite.NewConnector(uri)
		if err != nil {
			return nil, err
		}
		c, err := connectRows(ctx, connector)
		if err != nil {
			return nil, err
		}
		return &sqliteConn{c}, nil
	}}}, nil
}

type sqliteConn struct{ *rowConn }

// maxBusy is the longest wait for a lock: SQLite cannot cancel it.
const maxBusy = 5 * time.Second

// begin sets the timeout for locks. The first statement takes the snapshot.
func (c *sqliteConn) begin(ctx context.Context, limit time.Duration) error {
	timeout := max(min(limit/2, maxBusy).Milliseconds(), 1)
	if err := c.exec(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", timeout)); err != nil {
		return err
	}
	return c.exec(ctx, "BEGIN")
}

// lag returns no lag: a file has no primary.
func (c *sqliteConn) lag(context.Context, bool) (lag, error) { return noLag, nil }

// SQLite's primary result codes.
const (
	sqliteError     = 1
	sqlitePerm      = 3
	sqliteBusy      = 5
	sqliteLocked    = 6
	sqliteInterrupt = 9
	sqliteIO        = 10
	sqliteCorrupt   = 11
	sqliteCantOpen  = 14
	sqliteSchema    = 17
	sqliteAuth      = 23
	sqliteNotADB    = 26
)

func classifySQLite(ctx context.Context, err error) *Error {
	var own *Error
	var lite *sqlite.Error
	if errors.As(err, &own) || !errors.As(err, &lite) {
		return classifyCommon(ctx, err)
	}
	switch lite.Code() & 0xff {
	case sqliteBusy, sqliteLocked:
		return &Error{Kind: Locked, Err: err,
			Hint: "another process has locked the file; with PRAGMA journal_mode=wal readers do not wait for writers"}
	case sqliteInterrupt:
		return classifyCommon(ctx, errors.Join(err, ctx.Err()))
	case sqlitePerm, sqliteAuth:
		return &Error{Kind: Permission, Err: err, Hint: "let hm's user read the file"}
	case sqliteCantOpen:
		return &Error{Kind: Refused, Err: err,
			Hint: "check that desired.sql.dsn names the file, and that hm's user may read it; " +
				"in WAL mode hm needs the -shm and -wal files, or a directory that it may write to"}
	case sqliteIO:
		return &Error{Kind: Transport, Err: err, Hint: hintLost}
	case sqliteError, sqliteCorrupt, sqliteNotADB:
		return &Error{Kind: Schema, Err: err, Hint: hintSchema}
	case sqliteSchema:
		return &Error{Kind: Conflict, Err: err}
	}
	return &Error{Kind: Server, Err: err}
}
