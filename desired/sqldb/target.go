package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxTargets bounds the servers of a Source.
const maxTargets = 16

// target is one server that can be read from.
type target struct {
	name    string // host:port/database, or a path; no secrets
	dialect *dialect
	connect func(context.Context) (conn, error)
}

// conn is one connection.
type conn interface {
	// begin opens a read-only transaction that sees one snapshot, and has the server itself end every statement
	// that runs longer than limit.
	begin(ctx context.Context, limit time.Duration) error
	// lag tells how far the server is behind its primary, outside of a transaction. replica is what dialect.server says.
	lag(ctx context.Context, replica bool) (lag, error)
	// query calls row for each row of a statement. Nil is NULL; the values are valid until row returns.
	query(ctx context.Context, statement string, args []string, row func(values [][]byte) error) error
	rollback(ctx context.Context) error
	close()
}

// dialect is what the databases do each in their own way.
type dialect struct {
	parse    func(dsn string) ([]target, error) // its errors must not quote the DSN
	example  string
	split    func(line string) []string // one line of Options.DSN into DSNs
	classify func(ctx context.Context, err error) *Error

	columns string                        // table, column and 1 if it may be read, of the tables whose names replace the {}
	server  string                        // what tells servers apart, and 1 if it is a replica; empty: the target's name
	text    string                        // makes text that sorts by time of the newest time, which replaces the {}
	isFalse func(string) string           // condition
	isTrue  func(string) string           // condition
	unsafe  string                        // engine and name of tables that a snapshot does not hold for, or empty
	hidden  func(err error) bool          // the error of reading a column that is there, but may not be read; nil: columns tells
	among   func(n int) string            // condition that a column is one of n texts
	list    func(texts []string) []string // parameters for it
}

var dialects = map[string]*dialect{"postgres": &postgres, "mysql": &mysqlDialect, "sqlite": &sqliteDialect}

// parseDSNs gives the targets of all DSNs in a text.
func parseDSNs(driver, text string) ([]target, error) {
	d, ok := dialects[driver]
	if !ok {
		return nil, fmt.Errorf("driver %.40q is none of postgres, mysql, sqlite", driver)
	}
	var dsns []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			dsns = append(dsns, d.split(line)...)
		}
	}
	if len(dsns) == 0 {
		return nil, fmt.Errorf("the DSN is empty; it looks like %s", d.example)
	}
	var targets []target
	for i, dsn := range dsns {
		list, err := d.parse(dsn)
		if errors.Is(err, errUnparsable) {
			err = fmt.Errorf("%w; it looks like %s", err, d.example)
		}
		if err != nil {
			return nil, fmt.Errorf("%s DSN %d of %d: %w", driver, i+1, len(dsns), err)
		}
		for _, t := range list {
			t.dialect = d
			targets = append(targets, t)
		}
	}
	if len(targets) > maxTargets {
		return nil, fmt.Errorf("%d servers are more than %d", len(targets), maxTargets)
	}
	return targets, nil
}

// errUnparsable is the error of a DSN that does not parse; the parser's own might quote the password.
var errUnparsable = errors.New("it cannot be parsed")

func wholeLine(line string) []string { return []string{line} }

// amongEach and listEach make a parameter of every text.
func amongEach(n int) string { return "IN (?" + strings.Repeat(", ?", n-1) + ")" }

func listEach(texts []string) []string { return texts }
