package sqldb

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedRoles checks that hm can read with the roles that the SQL in docs/ccdb.md creates.
func TestDocumentedRoles(t *testing.T) {
	text, err := os.ReadFile("../../docs/ccdb.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range strings.Split(string(text), "```sql\n-- ")[1:] {
		block, _, _ = strings.Cut(block, "```")
		title, statements, _ := strings.Cut(block, "\n")
		driver, schema, _ := strings.Cut(title, " ")
		n++
		t.Run(title, func(t *testing.T) {
			d := openDatabase(t, driver, schema)
			d.fill(schema, readFixture(t))
			if driver == "postgres" {
				d.exec("REVOKE ALL ON SCHEMA public FROM PUBLIC", "REVOKE CONNECT ON DATABASE "+d.name+" FROM PUBLIC")
				t.Cleanup(func() { d.exec("DROP OWNED BY hm", "DROP ROLE hm") })
			} else {
				t.Cleanup(func() { d.exec("DROP USER hm") })
			}
			for s := range strings.SplitSeq(strings.ReplaceAll(statements, "ccdb", d.name), ";\n") {
				if strings.TrimSpace(s) != "" {
					d.exec(s)
				}
			}
			d.dsn = d.server.DSN("hm", "choose-one", d.name)
			s := d.source(t)
			reads(t, s, 17)
			s.Close() // before the role is dropped
		})
	}
	if n != 4 {
		t.Errorf("docs/ccdb.md has %d blocks of SQL, want 4", n)
	}
}
