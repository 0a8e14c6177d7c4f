package cc

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// dbTarget is a database that can be opened, and its dialect of SQL.
type dbTarget struct {
	driver, dsn string // as desired/sqldb takes them
	name        string // for people, without secrets
	open        func(context.Context) (dbSession, error)
	begin       string
	tables      string // statement: the number of tables with a name
	timeFormat  string
	place       func(statement string) string // replaces each ? by the dialect's placeholder
}

// dbSession is one connection to a database.
type dbSession interface {
	exec(ctx context.Context, statement string, args [][]byte) (changed int64, err error)
	query(ctx context.Context, statement string, args [][]byte, row func([][]byte) error) error
	close()
}

const (
	tablesSQLite   = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	tablesPostgres = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?"
	tablesMySQL    = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"

	microseconds = "2006-01-02 15:04:05.000000"
	seconds      = "2006-01-02 15:04:05"
)

// ValidateDB checks Options.DB and Options.DBSchema. Its errors contain no secrets.
func ValidateDB(db, schema string) error {
	var errs []error
	if db != "" {
		if _, err := parseDB(db); err != nil {
			errs = append(errs, err)
		}
	} else if schema != "" {
		errs = append(errs, errors.New("a database schema is given, but no database"))
	}
	if _, known := layouts[schema]; !known && schema != "" {
		errs = append(errs, fmt.Errorf("database schema %.20q is neither v2 nor v3", schema))
	}
	return errors.Join(errs...)
}

// parseDB reads Options.DB. Its errors contain no secrets.
func parseDB(text string) (dbTarget, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "sqlite", "file":
		return sqliteTarget(rest)
	case "postgres", "postgresql":
		return postgresTarget(text)
	case "mysql", "mariadb":
		if strings.HasPrefix(rest, "//") {
			return mysqlURLTarget(text)
		}
		return mysqlTarget(rest)
	}
	if strings.Contains(text, "@tcp(") || strings.Contains(text, "@unix(") {
		return mysqlTarget(text)
	}
	if strings.Contains(text, "://") {
		return dbTarget{}, fmt.Errorf("database: scheme %.20q is none of sqlite, postgres, mysql", scheme)
	}
	return sqliteTarget(text)
}

func sqliteTarget(path string) (dbTarget, error) {
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.ContainsRune(path, 0) || strings.Contains(path, ":memory:") {
		return dbTarget{}, errors.New("database: sqlite: give the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return dbTarget{}, fmt.Errorf("database: sqlite: %w", err)
	}
	// With a write-ahead log, readers and this writer never wait for each other.
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(2000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)"
	return dbTarget{
		driver: "sqlite", dsn: path, name: path,
		begin: "BEGIN IMMEDIATE", tables: tablesSQLite, timeFormat: microseconds, place: asIs,
		open: func(ctx context.Context) (dbSession, error) {
			connector, err := sqlite.NewConnector(uri)
			if err != nil {
				return nil, err
			}
			return openSQLSession(ctx, connector)
		},
	}, nil
}

func mysqlURLTarget(text string) (dbTarget, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return dbTarget{}, errors.New("database: mysql: the URL cannot be parsed; " +
			"it must look like mysql://user:password@host:3306/ccdb")
	}
	config, err := mysql.ParseDSN("tcp(" + u.Host + ")" + u.Path + "?" + u.RawQuery)
	if err != nil {
		return dbTarget{}, errors.New("database: mysql: the URL's host, database or parameters cannot be parsed")
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	return mysqlConfigTarget(config, text)
}

func mysqlTarget(dsn string) (dbTarget, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil { // the driver's error may quote the password
		return dbTarget{}, errors.New("database: mysql: cannot be parsed; it must look like mysql:user:password@tcp(host:3306)/ccdb")
	}
	return mysqlConfigTarget(config, dsn)
}

func mysqlConfigTarget(config *mysql.Config, dsn string) (dbTarget, error) {
	if config.DBName == "" {
		return dbTarget{}, errors.New("database: mysql: the name of the database is missing")
	}
	config.InterpolateParams = true // one round trip a statement
	config.MultiStatements, config.AllowAllFiles, config.ParseTime = false, false, false
	config.Logger = log.New(io.Discard, "", 0)
	if config.Params == nil {
		config.Params = map[string]string{}
	}
	config.Params["time_zone"] = "'+00:00'" // of TIMESTAMP values in answers
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return dbTarget{}, errors.New("database: mysql: the driver refuses the parameters")
	}
	return dbTarget{
		driver: "mysql", dsn: dsn, name: config.Addr + "/" + config.DBName,
		begin: "START TRANSACTION", tables: tablesMySQL, timeFormat: seconds, place: asIs,
		open: func(ctx context.Context) (dbSession, error) { return openSQLSession(ctx, connector) },
	}, nil
}

func asIs(statement string) string { return statement }

// sqlSession is a session through database/sql.
type sqlSession struct {
	db   *sql.DB
	conn *sql.Conn
}

func openSQLSession(ctx context.Context, connector driver.Connector) (dbSession, error) {
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &sqlSession{db: db, conn: conn}, nil
}

func (s *sqlSession) exec(ctx context.Context, statement string, args [][]byte) (int64, error) {
	result, err := s.conn.ExecContext(ctx, statement, texts(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (s *sqlSession) query(ctx context.Context, statement string, args [][]byte, row func([][]byte) error) error {
	rows, err := s.conn.QueryContext(ctx, statement, texts(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	raw, into, values := make([]sql.RawBytes, len(columns)), make([]any, len(columns)), make([][]byte, len(columns))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			values[i] = raw[i]
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *sqlSession) close() {
	_ = s.conn.Close()
	_ = s.db.Close()
}

func texts(args [][]byte) []any {
	list := make([]any, len(args))
	for i, a := range args {
		if a != nil {
			list[i] = string(a)
		}
	}
	return list
}

// postgresTarget uses pgconn, which sends and returns text unchanged.
func postgresTarget(dsn string) (dbTarget, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil { // the error may quote the password
		return dbTarget{}, errors.New("database: postgres: the URL cannot be parsed; " +
			"it must look like postgres://user:password@host:5432/ccdb")
	}
	config.RuntimeParams["application_name"] = "hm-sim"
	address := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	return dbTarget{
		driver: "postgres", dsn: dsn, name: address + "/" + config.Database,
		begin: "BEGIN", tables: tablesPostgres, timeFormat: microseconds, place: numbered,
		open: func(ctx context.Context) (dbSession, error) {
			conn, err := pgconn.ConnectConfig(ctx, config)
			if err != nil {
				return nil, err
			}
			return &postgresSession{conn}, nil
		},
	}, nil
}

// numbered turns each ? into $1, $2 and so on. No statement has a ? in a literal.
func numbered(statement string) string {
	parts := strings.Split(statement, "?")
	var b strings.Builder
	for i, p := range parts[:len(parts)-1] {
		b.WriteString(p)
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i + 1))
	}
	return b.String() + parts[len(parts)-1]
}

type postgresSession struct{ conn *pgconn.PgConn }

func (s *postgresSession) exec(ctx context.Context, statement string, args [][]byte) (int64, error) {
	tag, err := s.conn.ExecParams(ctx, statement, args, nil, nil, nil).Close()
	return tag.RowsAffected(), err
}

func (s *postgresSession) query(ctx context.Context, statement string, args [][]byte, row func([][]byte) error) error {
	rows := s.conn.ExecParams(ctx, statement, args, nil, nil, nil)
	for rows.NextRow() {
		if err := row(rows.Values()); err != nil {
			_, _ = rows.Close()
			return err
		}
	}
	_, err := rows.Close()
	return err
}

func (s *postgresSession) close() {
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout/5)
	defer cancel()
	_ = s.conn.Close(ctx)
}
