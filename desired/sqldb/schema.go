package sqldb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The generations of the Cloud Controller's tables.
const (
	schemaAuto = "auto"
	schemaV2   = "v2" // apps are processes (D16)
	schemaV3   = "v3" // apps have processes, packages and droplets (D19)
)

var (
	v2Tables = [...]string{"apps"}
	v3Tables = [...]string{"processes", "apps", "droplets", "packages"}
)

// needed are the columns that a read needs.
var needed = map[string]map[string][]string{
	schemaV2: {"apps": {"id", "guid", "version", "instances", "state", "package_state", "created_at", "updated_at"}},
	schemaV3: {
		"processes": {"id", "guid", "app_guid", "version", "instances", "state", "diego", "created_at", "updated_at"},
		"apps":      {"id", "guid", "droplet_guid", "created_at", "updated_at"},
		"droplets":  {"id", "guid", "app_guid", "package_guid", "state", "created_at", "updated_at"},
		"packages":  {"id", "guid", "app_guid", "state", "created_at", "updated_at"},
	},
}

// optional are columns of the v2 table apps that not every version has (D16). A condition on a missing one is left out.
var optional = []string{"diego", "deleted_at", "not_deleted"}

// found are the existing columns by table. true: the role may read it.
type found map[string]map[string]bool

func (f found) has(table, column string) bool {
	_, ok := f[table][column]
	return ok
}

// newPlan looks at the existing tables and makes the plan to read them.
func newPlan(ctx context.Context, c conn, d *dialect, schema string) (plan, error) {
	f := found{}
	list := "'" + strings.Join(v3Tables[:], "','") + "'"
	err := c.query(ctx, strings.ReplaceAll(d.columns, "{}", list), nil, func(v [][]byte) error {
		table := string(v[0])
		if f[table] == nil {
			f[table] = map[string]bool{}
		}
		f[table][string(v[1])] = string(v[2]) == "1"
		return nil
	})
	if err != nil {
		return plan{}, fmt.Errorf("look at the tables: %w", err)
	}
	if schema == schemaAuto {
		if schema, err = detect(f); err != nil {
			return plan{}, err
		}
	}
	if err := checkColumns(f, schema); err != nil {
		return plan{}, err
	}
	if d.unsafe != "" {
		if err := checkEngines(ctx, c, d.unsafe, list); err != nil {
			return plan{}, err
		}
	}
	if schema == schemaV3 {
		return planV3(d), nil
	}
	if d.hidden != nil {
		if err := checkHiddenColumns(ctx, c, d, f); err != nil {
			return plan{}, err
		}
	}
	return planV2(d, f), nil
}

// detect returns the schema of the existing tables.
func detect(f found) (string, error) {
	v2, v3 := f.has("apps", "package_state"), f["processes"] != nil
	switch {
	case v2 && v3:
		return "", &Error{Kind: Schema,
			Err: errors.New("the database has both apps.package_state, which only v2 has, and the table processes, which only v3 has"),
			Hint: "if a migration of the Cloud Controller's database is running, wait for its end; " +
				"else set desired.sql.schema to v2 or v3"}
	case v2:
		return schemaV2, nil
	case v3:
		return schemaV3, nil
	}
	return "", &Error{Kind: Schema, Err: fmt.Errorf(
		"the database has neither apps.package_state, which v2 has, nor the table processes, which v3 has: found %s",
		f.describe()),
		Hint: "check that desired.sql.dsn names the Cloud Controller's database, and that the role may read its tables"}
}

// checkColumns returns an error that names all missing columns at once.
func checkColumns(f found, schema string) error {
	var missing, unreadable []string
	tables := needed[schema]
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		if f[table] == nil {
			missing = append(missing, "table "+table)
			continue
		}
		columns := tables[table]
		if schema == schemaV2 {
			columns = slices.Concat(columns, optional)
		}
		for _, column := range columns {
			if readable, ok := f[table][column]; ok && !readable {
				unreadable = append(unreadable, table+"."+column)
			} else if !ok && !(schema == schemaV2 && slices.Contains(optional, column)) {
				missing = append(missing, table+"."+column)
			}
		}
	}
	if len(unreadable) > 0 {
		return &Error{Kind: Permission, Err: fmt.Errorf("the role may not read %s", strings.Join(unreadable, ", ")),
			Hint: "grant it SELECT on them; docs/ccdb.md has the SQL"}
	}
	if len(missing) == 0 {
		return nil
	}
	hint := "check desired.sql.schema, and that the role may read the tables"
	if schema == schemaV3 && slices.Contains(missing, "processes.diego") {
		hint = "either the role may not read the column, or the Cloud Controller is newer than mid 2017 and has no DEAs, " +
			"and hm is only for DEAs"
	}
	return &Error{Kind: Schema, Err: fmt.Errorf("schema %s needs what is missing here: %s; found %s",
		schema, strings.Join(missing, ", "), f.describe()),
		Hint: hint}
}

// describe lists the existing columns, at most 40 a table.
func (f found) describe() string {
	if len(f) == 0 {
		return "no table of the Cloud Controller"
	}
	var parts []string
	for _, table := range slices.Sorted(maps.Keys(f)) {
		columns := slices.Sorted(maps.Keys(f[table]))
		if len(columns) > 40 {
			columns = append(columns[:40], "…")
		}
		parts = append(parts, table+"("+strings.Join(columns, ", ")+")")
	}
	return strings.Join(parts, ", ")
}

// checkEngines refuses tables whose engine has no snapshots.
func checkEngines(ctx context.Context, c conn, statement, list string) error {
	var tables []string
	err := c.query(ctx, strings.ReplaceAll(statement, "{}", list), nil, func(v [][]byte) error {
		tables = append(tables, fmt.Sprintf("%s (%s)", v[0], v[1]))
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at the tables' engines: %w", err)
	}
	if len(tables) > 0 {
		return &Error{Kind: Schema, Err: fmt.Errorf("hm cannot read a snapshot of %s", strings.Join(tables, ", ")),
			Hint: "change the engine of the tables to InnoDB"}
	}
	return nil
}

// checkHiddenColumns checks that the optional columns that were not found do not exist. Some databases list only the
// columns that the role may read. Without the condition on a hidden column hm would read wrong rows.
func checkHiddenColumns(ctx context.Context, c conn, d *dialect, f found) error {
	for _, column := range optional {
		if f.has("apps", column) {
			continue
		}
		err := c.query(ctx, "SELECT "+column+" FROM apps LIMIT 0", nil, func([][]byte) error { return nil })
		switch {
		case err == nil:
			return &Error{Kind: Inconsistent, Err: fmt.Errorf("the column apps.%s was added during the read", column),
				Hint: "the next poll reads again"}
		case d.hidden(err):
			return &Error{Kind: Permission, Err: fmt.Errorf("the role may not read apps.%s", column),
				Hint: "grant it SELECT on it; docs/ccdb.md has the SQL"}
		case d.classify(ctx, err).Kind != Schema:
			return fmt.Errorf("look for apps.%s: %w", column, err)
		}
	}
	return nil
}
