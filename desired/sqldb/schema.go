package sqldb

import (
	"context"
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

// needed are the columns that a read cannot do without.
var needed = map[string]map[string][]string{
	schemaV2: {"apps": {"id", "guid", "version", "instances", "state", "package_state", "created_at", "updated_at"}},
	schemaV3: {
		"processes": {"id", "guid", "app_guid", "version", "instances", "state", "diego", "created_at", "updated_at"},
		"apps":      {"id", "guid", "droplet_guid", "created_at", "updated_at"},
		"droplets":  {"id", "guid", "app_guid", "package_guid", "state", "created_at", "updated_at"},
		"packages":  {"id", "guid", "app_guid", "state", "created_at", "updated_at"},
	},
}

// optional are columns of v2's apps that came and went (D16): a condition on one that is not there is left out.
var optional = []string{"diego", "deleted_at", "not_deleted"}

// found are the columns that are there, by table; true: they may be read.
type found map[string]map[string]bool

func (f found) has(table, column string) bool {
	_, ok := f[table][column]
	return ok
}

// newPlan looks at the tables that there are, and says how to read them.
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
		if err := revealColumns(ctx, c, d, f); err != nil {
			return plan{}, err
		}
	}
	return planV2(d, f), nil
}

func detect(f found) (string, error) {
	v2, v3 := f.has("apps", "package_state"), f["processes"] != nil
	switch {
	case v2 && v3:
		return "", &Error{Kind: Schema, Err: fmt.Errorf("there are both apps.package_state, which only v2 has, and the table processes, which only v3 has"),
			Hint: "is a migration of the Cloud Controller's database under way? If not, set desired.sql.schema"}
	case v2:
		return schemaV2, nil
	case v3:
		return schemaV3, nil
	}
	return "", &Error{Kind: Schema, Err: fmt.Errorf("neither apps.package_state, as v2 has it, nor the table processes, as v3 has it, is there: found %s", f.describe()),
		Hint: "does the DSN name the Cloud Controller's database, and may the role read its tables?"}
}

// checkColumns names everything that is missing at once.
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
		return &Error{Kind: Permission, Err: fmt.Errorf("the role may not read %s", strings.Join(unreadable, ", ")), Hint: "grant it SELECT on them, as docs/ccdb.md says"}
	}
	if len(missing) == 0 {
		return nil
	}
	hint := "does desired.sql.schema fit, and may the role read the tables?"
	if schema == schemaV3 && slices.Contains(missing, "processes.diego") {
		hint = "a Cloud Controller without processes.diego is newer than mid 2017 and has no DEAs, which hm is for; or may the role not read the column?"
	}
	return &Error{Kind: Schema, Err: fmt.Errorf("for schema %s these are missing: %s; found %s", schema, strings.Join(missing, ", "), f.describe()), Hint: hint}
}

// describe lists what there is, within reason.
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

// checkEngines refuses tables that a transaction's snapshot does not hold for.
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
		return &Error{Kind: Schema, Err: fmt.Errorf("no consistent read is possible of %s", strings.Join(tables, ", ")), Hint: "the tables must be InnoDB"}
	}
	return nil
}

// revealColumns makes sure that an optional column that is not listed is not there: some databases list only the
// columns that the role may read, and to leave the condition on a hidden one out would give the wrong rows.
func revealColumns(ctx context.Context, c conn, d *dialect, f found) error {
	for _, column := range optional {
		if f.has("apps", column) {
			continue
		}
		err := c.query(ctx, "SELECT "+column+" FROM apps LIMIT 0", nil, func([][]byte) error { return nil })
		switch {
		case err == nil:
			return &Error{Kind: Inconsistent, Err: fmt.Errorf("apps.%s was added a moment ago", column)}
		case d.hidden(err):
			return &Error{Kind: Permission, Err: fmt.Errorf("the role may not read apps.%s", column), Hint: "grant it SELECT on it, as docs/ccdb.md says"}
		case d.classify(ctx, err).Kind != Schema:
			return fmt.Errorf("look for apps.%s: %w", column, err)
		}
	}
	return nil
}
