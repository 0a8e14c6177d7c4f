// Package ccschema creates the tables of the Cloud Controller's database that hm reads, for every database and both
// generations. The simulated Cloud Controller and the tests use it.
package ccschema

import (
	_ "embed" // for the SQL files
	"fmt"
	"strings"
)

//go:embed v2.sql
var v2 string

//go:embed v3.sql
var v3 string

// dialects replaces the words that differ between the databases.
var dialects = map[string]*strings.Replacer{
	"postgres": strings.NewReplacer("{{serial}}", "serial PRIMARY KEY", "{{time}}", "timestamp",
		"{{bool}}", "boolean", "{{true}}", "true", "{{false}}", "false"),
	"mysql": strings.NewReplacer("{{serial}}", "integer AUTO_INCREMENT PRIMARY KEY", "{{time}}", "timestamp",
		"{{bool}}", "tinyint(1)", "{{true}}", "1", "{{false}}", "0",
		"\n);", "\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"),
	"sqlite": strings.NewReplacer("{{serial}}", "integer PRIMARY KEY AUTOINCREMENT", "{{time}}", "timestamp",
		"{{bool}}", "boolean", "{{true}}", "1", "{{false}}", "0"),
}

// Statements returns the statements that create the tables and indexes of a schema (v2 or v3) in an empty database of a
// driver (postgres, mysql or sqlite).
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
