// Package ccschema has the tables of the Cloud Controller's database that the desired state is read from, for every
// database and both generations: what a simulated Cloud Controller keeps its apps in, and what tests fill.
package ccschema

import (
	_ "embed" // of the tables
	"fmt"
	"strings"
)

//go:embed v2.sql
var v2 string

//go:embed v3.sql
var v3 string

// dialects replaces what the databases spell differently.
var dialects = map[string]*strings.Replacer{
	"postgres": strings.NewReplacer("{{serial}}", "serial PRIMARY KEY", "{{time}}", "timestamp", "{{bool}}", "boolean", "{{true}}", "true", "{{false}}", "false"),
	"mysql": strings.NewReplacer("{{serial}}", "integer AUTO_INCREMENT PRIMARY KEY", "{{time}}", "timestamp", "{{bool}}", "tinyint(1)", "{{true}}", "1", "{{false}}", "0",
		"\n);", "\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"),
	"sqlite": strings.NewReplacer("{{serial}}", "integer PRIMARY KEY AUTOINCREMENT", "{{time}}", "timestamp", "{{bool}}", "boolean", "{{true}}", "1", "{{false}}", "0"),
}

// Statements gives what creates the tables and indexes of a schema (v2 or v3) in an empty database of a driver
// (postgres, mysql or sqlite), one statement each.
func Statements(driver, schema string) ([]string, error) {
	text, ok := map[string]string{"v2": v2, "v3": v3}[schema]
	if !ok {
		return nil, fmt.Errorf("schema %.40q is neither v2 nor v3", schema)
	}
	dialect, ok := dialects[driver]
	if !ok {
		return nil, fmt.Errorf("driver %.40q is none of postgres, mysql, sqlite", driver)
	}
	_, text, _ = strings.Cut(text, "\n") // the comment
	var list []string
	for s := range strings.SplitSeq(dialect.Replace(text), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list, nil
}
