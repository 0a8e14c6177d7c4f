package sqldb

import (
	"context"
	"strings"
	"time"
)

// target is one server.
type target struct {
	name    string // host:port/database, or a path; no secrets
	dialect *dialect
	connect func(context.Context) (conn, error)
}

// conn is one connection.
type conn interface {
	// begin opens a read-only transaction that sees one snapshot. The server ends every statement that runs longer than
	// limit.
	begin(ctx context.Context, limit time.Duration) error
	// lag returns how far the server is behind its primary. It runs outside of a transaction. replica comes from
	// dialect.server.
	lag(ctx context.Context, replica bool) (lag, error)
	// query calls row for each row of a statement. Nil is NULL; the values are valid until row returns.
	query(ctx context.Context, statement string, args []string, row func(values [][]byte) error) error
	rollback(ctx context.Context) error
	close()
}

// dialect has the differences between the databases.
type dialect struct {
	absent   error                              // why this program does not have the driver; nil: it has it
	parse    func(dsn string) ([]target, error) // its errors must not quote the DSN, which has a password
	example  string
	split    func(line string) []string // splits a line of Options.DSN into DSNs
	classify func(ctx context.Context, err error) *Error

	columns string                        // statement: table, column, 1 if the role may read it; table names replace {}
	server  string                        // statement: identity of the server, 1 if it is a replica; empty: use target.name
	text    string                        // expression: a time, which replaces {}, as text that sorts by time
	time    string                        // the same, but cheaper: the text has a varying number of digits
	isFalse func(string) string           // condition that a column is false
	isTrue  func(string) string           // condition that a column is true
	unsafe  string                        // statement: name and engine of tables without snapshots; may be empty
	hidden  func(err error) bool          // the error means that the role may not read a column; nil: columns says it
	among   func(n int) string            // condition that a column is one of n texts
	list    func(texts []string) []string // the parameters of that condition
}

var dialects = map[string]*dialect{"postgres": &postgres, "mysql": &mysqlDialect, "sqlite": &sqliteDialect}

// amongEach is dialect.among with a parameter for every text.
func amongEach(n int) string { return "IN (?" + strings.Repeat(", ?", n-1) + ")" }

// listEach is dialect.list with a parameter for every text.
func listEach(texts []string) []string { return texts }
