package sqldb

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"hm/internal/tlsfiles"
)

// mysqlDialect is MySQL from 5.6.5 on, and MariaDB from 10.0 on.
var mysqlDialect = dialect{
	parse:    parseMySQL,
	example:  "user:password@tcp(host:3306)/ccdb?tls=true&ssl-ca=/path/ca.pem or mysql://user:password@host:3306/ccdb",
	classify: classifyMySQL,
	split:    strings.Fields,
	columns: "SELECT table_name, column_name, CASE WHEN privileges LIKE '%select%' THEN 1 ELSE 0 END" +
		" FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ({})",
	server:  "SELECT CONCAT(@@hostname, ':', @@port, '/', DATABASE(), ' with server id ', @@server_id), @@global.read_only",
	text:    "DATE_FORMAT({}, '%Y-%m-%d %H:%i:%s.%f')",
	time:    "{}", // with ParseTime off
	isFalse: func(c string) string { return c + " = 0" },
	isTrue:  func(c string) string { return c + " = 1" },
	unsafe: "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE()" +
		" AND table_name IN ({}) AND engine <> 'InnoDB'",
	hidden: func(err error) bool { n := mysqlNumber(err); return n == 1142 || n == 1143 },
	among:  amongEach,
	list:   listEach,
}

// parseMySQL parses a DSN in the driver's own form, or a URL. Both may have several hosts.
func parseMySQL(dsn string) ([]target, error) {
	list, user, err := expandMySQL(dsn)
	if err != nil {
		return nil, errUnparsable
	}
	var targets []target
	for _, dsn := range list {
		config, err := mysql.ParseDSN(dsn)
		if err != nil || config.DBName == "" {
			return nil, errUnparsable // the driver's errors may quote the password
		}
		if user != nil {
			config.User = user.Username()
			config.Passwd, _ = user.Password()
		}
		if config.TLS, err = mysqlTLS(config); err != nil {
			return nil, err
		}
		config.AllowAllFiles = false // a hostile server could read any file
		config.MultiStatements = false
		config.InterpolateParams = true
		config.ParseTime = false // times are compared as texts
		config.MaxAllowedPacket = maxMessage
		config.Logger = log.New(io.Discard, "", 0) // hm's errors say the same
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, errUnparsable
		}
		targets = append(targets, target{
			name:    config.Addr + "/" + config.DBName,
			connect: func(ctx context.Context) (conn, error) { return connectMySQL(ctx, connector) },
		})
	}
	return targets, nil
}

// expandMySQL returns a DSN in the driver's form for each host. It returns the user and password of a URL separately,
// because the driver's form cannot hold all characters.
func expandMySQL(dsn string) (list []string, user *url.Userinfo, err error) {
	before, hosts, after := "tcp(", "", ""
	if scheme, rest, ok := strings.Cut(dsn, "://"); ok && (scheme == "mysql" || scheme == "mysql2" || scheme == "mariadb") {
		authority, path, _ := strings.Cut(rest, "/")
		at := strings.LastIndexByte(authority, '@')
		if user, err = userOf(authority[:max(at, 0)]); err != nil {
			return nil, nil, err
		}
		hosts, after = authority[at+1:], ")/"+path
	} else {
		to := strings.LastIndex(dsn, ")/")
		from := strings.LastIndexByte(dsn[:max(to, 0)], '(')
		if to < 0 || from < 0 {
			return []string{dsn}, nil, nil // no address: the driver uses its default
		}
		before, hosts, after = dsn[:from+1], dsn[from+1:to], dsn[to:]
	}
	// The driver looks for the database after the last slash.
	after, query, _ := strings.Cut(after, "?")
	after += "?" + strings.ReplaceAll(query, "/", "%2F")
	for host := range strings.SplitSeq(hosts, ",") {
		list = append(list, before+host+after)
	}
	return list, user, nil
}

func userOf(text string) (*url.Userinfo, error) {
	name, password, _ := strings.Cut(text, ":")
	name, err := url.PathUnescape(name)
	if err != nil {
		return nil, err
	}
	if password, err = url.PathUnescape(password); err != nil {
		return nil, err
	}
	return url.UserPassword(name, password), nil
}

// mysqlTLS takes the parameters ssl-ca, ssl-cert and ssl-key out of a config. They have the names of the mysql client's
// options. The driver itself trusts only the system's authorities.
func mysqlTLS(config *mysql.Config) (*tls.Config, error) {
	file := func(key string) tlsfiles.File {
		f := tlsfiles.File{Key: key, Path: config.Params[key]}
		delete(config.Params, key)
		return f
	}
	ca, cert, key := file("ssl-ca"), file("ssl-cert"), file("ssl-key")
	if ca.Path == "" && cert.Path == "" && key.Path == "" {
		return config.TLS, nil
	}
	if config.TLSConfig != "" && config.TLSConfig != "true" {
		return nil, errors.New("with ssl-ca, ssl-cert or ssl-key, tls must be true or absent")
	}
	return tlsfiles.Client(ca, cert, key)
}

type mysqlConn struct {
	*rowConn
	limit string        // statement that sets the timeout of later statements
	unit  time.Duration // unit of that timeout
}

func connectMySQL(ctx context.Context, connector driver.Connector) (conn, error) {
	rows, err := connectRows(ctx, connector)
	if err != nil {
		return nil, err
	}
	c := &mysqlConn{rowConn: rows, limit: "SET SESSION max_execution_time = %d", unit: time.Millisecond}
	err = c.query(ctx, "SELECT VERSION()", nil, func(v [][]byte) error {
		if strings.Contains(strings.ToLower(string(v[0])), "mariadb") {
			c.limit, c.unit = "SET SESSION max_statement_time = %d", time.Second
		}
		return nil
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// mysqlUnknownVariable is the error of a server that is too old to limit a statement's time.
const mysqlUnknownVariable = 1193

func (c *mysqlConn) begin(ctx context.Context, limit time.Duration) error {
	ceil := func(unit time.Duration) int64 { return int64((limit + unit - 1) / unit) }
	if err := c.exec(ctx, fmt.Sprintf(c.limit, ceil(c.unit))); err != nil && mysqlNumber(err) != mysqlUnknownVariable {
		return err
	}
	for _, statement := range []string{
		fmt.Sprintf("SET SESSION time_zone = '+00:00', SESSION lock_wait_timeout = %d", max(ceil(time.Second)/2, 1)),
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", // other levels have no snapshot
		"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
	} {
		if err := c.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// query does what rowConn.query does, with less work for each row if there are no args: a scan has millions of rows.
func (c *mysqlConn) query(ctx context.Context, statement string, args []string, row func([][]byte) error) error {
	if len(args) > 0 {
		return c.rowConn.query(ctx, statement, args, row)
	}
	return c.conn.Raw(func(raw any) (err error) {
		rows, err := raw.(driver.QueryerContext).QueryContext(ctx, statement, nil)
		if err != nil {
			return err
		}
		defer func() {
			if e := rows.Close(); err == nil {
				err = e
			}
		}()
		values := make([]driver.Value, len(rows.Columns()))
		texts := make([][]byte, len(values))
		numbers := make([][20]byte, len(values))
		for {
			switch err := rows.Next(values); {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
			for i, v := range values {
				switch v := v.(type) {
				case []byte:
					texts[i] = v
				case int64:
					texts[i] = strconv.AppendInt(numbers[i][:0], v, 10)
				case nil:
					texts[i] = nil
				default: // other numbers
					texts[i] = fmt.Append(nil, v)
				}
			}
			if err := row(texts); err != nil {
				return err
			}
		}
	})
}

func mysqlNumber(err error) uint16 {
	if e := (*mysql.MySQLError)(nil); errors.As(err, &e) {
		return e.Number
	}
	return 0
}

func classifyMySQL(ctx context.Context, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	switch mysqlNumber(err) {
	case 0:
		switch {
		case errors.Is(err, mysql.ErrNoTLS):
			return &Error{Kind: TLS, Err: err, Hint: hintTLS}
		case ctx.Err() == nil && (errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) ||
			errors.Is(err, mysql.ErrMalformPkt) || errors.Is(err, mysql.ErrPktSync)):
			return &Error{Kind: Transport, Err: fmt.Errorf("the connection was lost: %w", err), Hint: hintLost}
		}
		return classifyCommon(ctx, err)
	case 3159, 4042: // require_secure_transport
		return &Error{Kind: TLS, Err: err, Hint: hintTLS}
	case 1044, 1045, 1130, 1251, 1524, 1698:
		return &Error{Kind: Unauthorized, Err: err, Hint: hintAuth}
	case 1142, 1143, 1227:
		return &Error{Kind: Permission, Err: err, Hint: hintGrant}
	case 1049, 1054, 1146:
		return &Error{Kind: Schema, Err: err, Hint: hintSchema}
	case 1205:
		return &Error{Kind: Locked, Err: err, Hint: hintLocked}
	case 1969, 3024:
		return &Error{Kind: Timeout, Err: err, Hint: hintTimeout}
	case 1213, 1412:
		return &Error{Kind: Conflict, Err: err}
	case 1040, 1203, 1226:
		return &Error{Kind: Refused, Err: err, Hint: hintFull}
	case 1053, 1317, 1927, 4031:
		return &Error{Kind: Transport, Err: err, Hint: hintLost}
	}
	return &Error{Kind: Server, Err: err}
}
