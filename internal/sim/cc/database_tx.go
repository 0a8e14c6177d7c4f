package cc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/internal/app"
)

// tx is an open transaction. After the first error, which is kept in err, its methods do nothing.
type tx struct {
	ctx     context.Context // of this transaction alone
	session dbSession
	target  dbTarget
	err     error
}

func (x *tx) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

// exec runs a statement with a ? for each argument, and returns the number of rows that it changed.
func (x *tx) exec(statement string, args ...any) int64 {
	if x.err != nil {
		return 0
	}
	n, err := x.session.exec(x.ctx, x.target.place(statement), x.encode(args))
	if err != nil {
		x.err = fmt.Errorf("%.60s: %w", statement, err)
	}
	return n
}

// query calls row for each row of a statement. A nil value is NULL; the values are valid until row returns.
func (x *tx) query(statement string, args []any, row func([][]byte) error) {
	if x.err != nil {
		return
	}
	if err := x.session.query(x.ctx, x.target.place(statement), x.encode(args), row); err != nil {
		x.err = fmt.Errorf("%.60s: %w", statement, err)
	}
}

// has reports whether a table exists.
func (x *tx) has(table string) bool {
	n := "0"
	x.query(x.target.tables, []any{table}, func(v [][]byte) error { n = string(v[0]); return nil })
	return n != "0"
}

// maxValues bounds the arguments of one statement. SQLite allows 32,766, PostgreSQL 65,535.
const maxValues = 10_000

// insert adds rows. values are the columns' values, row after row.
func (x *tx) insert(table string, columns []string, values []any) {
	width := len(columns)
	row := "(" + strings.Repeat("?, ", width-1) + "?)"
	for part := range slices.Chunk(values, maxValues/width*width) {
		x.exec("INSERT INTO "+table+" ("+strings.Join(columns, ", ")+
			") VALUES "+strings.Repeat(row+", ", len(part)/width-1)+row, part...)
	}
}

// encode turns arguments into text, which every database accepts for any column.
func (x *tx) encode(args []any) [][]byte {
	list := make([][]byte, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case nil:
		case string:
			list[i] = []byte(a)
		case app.GUID:
			list[i] = []byte(a.String())
		case int:
			list[i] = strconv.AppendInt(nil, int64(a), 10)
		case int64:
			list[i] = strconv.AppendInt(nil, a, 10)
		case bool:
			list[i] = []byte("0")
			if a {
				list[i] = []byte("1")
			}
		case time.Time:
			list[i] = a.UTC().AppendFormat(nil, x.target.timeFormat)
		default:
			list[i] = []byte(fmt.Sprint(a))
		}
	}
	return list
}

// values reads one row, value by value. err collects the errors.
type values struct {
	v   [][]byte
	err error
}

func (r *values) text() string {
	v := r.v[0]
	r.v = r.v[1:]
	return string(v)
}

func (r *values) int() int {
	n, err := strconv.ParseInt(r.text(), 10, 64)
	r.err = errors.Join(r.err, err)
	return int(n)
}

func (r *values) bool() bool {
	b, err := strconv.ParseBool(r.text())
	r.err = errors.Join(r.err, err)
	return b
}

func (r *values) guid() app.GUID {
	g, err := app.ParseGUID(r.text())
	r.err = errors.Join(r.err, err)
	return g
}

// time reads a time in the databases' formats; NULL is the zero time.
func (r *values) time() time.Time {
	s := r.text()
	if s == "" {
		return time.Time{}
	}
	for _, format := range []string{time.DateTime, time.RFC3339} { // both accept a fraction
		if t, err := time.Parse(format, s); err == nil {
			return t
		}
	}
	r.err = errors.Join(r.err, fmt.Errorf("invalid time %.40q", s))
	return time.Time{}
}
