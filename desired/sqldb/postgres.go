package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgres uses pgconn, the lower layer of pgx: it does not copy rows, and its statements have no names, so hm also
// works through a connection pooler.
var postgres = dialect{
	parse:    parsePostgres,
	example:  "postgres://user:password@host:5432/ccdb?sslmode=verify-full&sslrootcert=/path/ca.pem",
	classify: classifyPostgres,
	split: func(line string) []string {
		if strings.HasPrefix(line, "postgres://") || strings.HasPrefix(line, "postgresql://") {
			return strings.Fields(line)
		}
		return wholeLine(line) // host=... user=...
	},
	columns: "SELECT c.relname, a.attname, CASE WHEN has_column_privilege(c.oid, a.attnum, 'SELECT') THEN 1 ELSE 0 END" +
		" FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped" +
		" WHERE c.relname IN ({}) AND pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
	server: "SELECT COALESCE(host(inet_server_addr()), 'socket') || ':' || COALESCE(inet_server_port()::text, '') ||" +
		" '/' || current_database() ||" +
		" ' up since ' || to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')," +
		" CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END",
	text:    "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')",
	time:    "{}", // with the DateStyle that begin sets
	isFalse: func(c string) string { return c + " = false" },
	isTrue:  func(c string) string { return c + " = true" },
	among:   func(int) string { return "= ANY ($1)" },
	list:    func(texts []string) []string { return []string{arrayOf(texts)} },
}

// arrayOf returns texts as an array literal of PostgreSQL.
func arrayOf(texts []string) string {
	var b strings.Builder
	for i, t := range texts {
		b.WriteString(map[bool]string{true: `{"`, false: `,"`}[i == 0])
		_, _ = arrayEscapes.WriteString(&b, t)
		b.WriteByte('"')
	}
	return b.String() + "}"
}

var arrayEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// maxMessage is the largest message, in bytes, that hm accepts from a server.
const maxMessage = 16 << 20

// parsePostgres returns a target for each host of a DSN.
func parsePostgres(dsn string) ([]target, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, explainPostgres(err)
	}
	config.MaxProtocolMessageBodyLen = maxMessage
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "hm"
	}
	type host struct {
		name string
		port uint16
	}
	var hosts []host
	ways := map[host][]*pgconn.FallbackConfig{} // with TLS, without, or both: sslmode says which
	first := &pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	for _, f := range append([]*pgconn.FallbackConfig{first}, config.Fallbacks...) {
		h := host{f.Host, f.Port}
		if ways[h] == nil {
			hosts = append(hosts, h)
		}
		ways[h] = append(ways[h], f)
	}
	var targets []target
	for _, h := range hosts {
		c := config.Copy()
		c.Host, c.Port, c.TLSConfig, c.Fallbacks = h.name, h.port, ways[h][0].TLSConfig, ways[h][1:]
		targets = append(targets, target{
			name:    net.JoinHostPort(h.name, strconv.Itoa(int(h.port))) + "/" + c.Database,
			connect: func(ctx context.Context) (conn, error) { return connectPostgres(ctx, c) },
		})
	}
	return targets, nil
}

// explainPostgres returns what is wrong with a DSN without any part of the DSN that may be secret.
func explainPostgres(err error) error {
	var path *os.PathError
	var u *url.Error
	switch {
	case errors.As(err, &u):
	case errors.As(err, &path):
		return fmt.Errorf("it names a file that cannot be read: %w", path)
	case strings.Contains(err.Error(), "sslmode is invalid"):
		return errors.New("its sslmode is none of disable, allow, prefer, require, verify-ca, verify-full")
	case strings.Contains(err.Error(), "unable to add CA to cert pool"):
		return errors.New("the file of its sslrootcert contains no certificate")
	}
	return errUnparsable
}

func connectPostgres(ctx context.Context, config *pgconn.Config) (conn, error) {
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &postgresConn{c}, nil
}

type postgresConn struct{ pg *pgconn.PgConn }

// begin changes only the settings that the server has: old servers do not have all of them.
func (c *postgresConn) begin(ctx context.Context, limit time.Duration) error {
	ms := max(limit.Milliseconds(), 1)
	settings := fmt.Sprintf("SELECT set_config(s.name, v.value, true) FROM pg_settings s JOIN (VALUES"+
		" ('statement_timeout', '%d'), ('lock_timeout', '%d'), ('idle_in_transaction_session_timeout', '%d'),"+
		" ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'),"+
		// Parallel processes and compiled code do not help to look up a few thousand rows by index.
		" ('max_parallel_workers_per_gather', '0'), ('jit', 'off')) v (name, value) ON v.name = s.name",
		ms, max(ms/2, 1), ms)
	_, err := c.pg.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "+settings).ReadAll()
	return err
}

func (c *postgresConn) query(ctx context.Context, statement string, args []string, row func([][]byte) error) error {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	rows := c.pg.ExecParams(ctx, statement, params, nil, nil, nil)
	for rows.NextRow() {
		if err := row(rows.Values()); err != nil {
			_, _ = rows.Close() // the rest of the page is not needed
			return err
		}
	}
	_, err := rows.Close()
	return err
}

func (c *postgresConn) rollback(ctx context.Context) error {
	_, err := c.pg.Exec(ctx, "ROLLBACK").ReadAll()
	return err
}

// close waits until the server knows that the connection and its running statement have ended.
func (c *postgresConn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = c.pg.Close(ctx)
	select {
	case <-c.pg.CleanupDone():
	case <-ctx.Done():
	}
}

// closeTimeout is how long close waits.
const closeTimeout = time.Second

func classifyPostgres(ctx context.Context, err error) *Error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if strings.Contains(err.Error(), "server refused TLS connection") {
			return &Error{Kind: TLS, Err: err, Hint: hintTLS}
		}
		return classifyCommon(ctx, err)
	}
	var own *Error
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case errors.As(err, &own):
		return own
	case class == "28" && (strings.Contains(pg.Message, "SSL off") || strings.Contains(pg.Message, "no encryption")):
		return &Error{Kind: TLS, Err: err, Hint: hintTLS}
	case class == "28":
		return &Error{Kind: Unauthorized, Err: err, Hint: hintAuth}
	case class == "3D", pg.Code == "42P01", pg.Code == "42703", pg.Code == "42804", pg.Code == "42883":
		return &Error{Kind: Schema, Err: err, Hint: hintSchema}
	case pg.Code == "42501":
		return &Error{Kind: Permission, Err: err, Hint: hintGrant}
	case pg.Code == "55P03":
		return &Error{Kind: Locked, Err: err, Hint: hintLocked}
	case pg.Code == "57014" || pg.Code == "25P03":
		return &Error{Kind: Timeout, Err: err, Hint: hintTimeout}
	case class == "40":
		return &Error{Kind: Conflict, Err: err,
			Hint: "on a replica, raise max_standby_streaming_delay or set hot_standby_feedback"}
	case pg.Code == "57P03", pg.Code == "53300":
		return &Error{Kind: Refused, Err: err, Hint: hintFull}
	case class == "08", pg.Code == "57P01", pg.Code == "57P02":
		return &Error{Kind: Transport, Err: err, Hint: hintLost}
	}
	return &Error{Kind: Server, Err: err}
}
