package sqldb

import (
	"fmt"
	"strconv"
	"strings"
)

// plan is how one database's tables are read.
type plan struct {
	schema string
	tables []string // that count for the mark
	mark   string   // statement: highest id, newest updated_at and created_at of each of the tables
	pages  string   // statement of the rows, up to its conditions on id or guid
	guids  func(n int) string
	bits   [2]string // v3: statements of droplets and packages, up to the apps that they are of
}

// Values from the tables are cut to a length that is too long to be right, so that a hostile one costs no memory.
const (
	cutGUID  = 130 // above app.MaxGUIDLen
	cutState = 40
	cutText  = 255 // what the Cloud Controller's columns hold
)

// planV2 reads the rows that a v2 Cloud Controller answers with: started, not deleted, not Diego's (D17). Rows that
// failed to stage are left out later, as in v3.
func planV2(d *dialect, f found) plan {
	where := []string{"p.state = 'STARTED'"}
	if f.has("apps", "diego") {
		where = append(where, d.isFalse("p.diego"))
	}
	if f.has("apps", "deleted_at") {
		where = append(where, "p.deleted_at IS NULL")
	} else if f.has("apps", "not_deleted") {
		where = append(where, d.isTrue("p.not_deleted"))
	}
	return newPlanOf(d, schemaV2, v2Tables[:],
		fmt.Sprintf("SELECT p.id, substr(p.guid, 1, %d), substr(p.version, 1, %d), p.instances, p.state, substr(p.package_state, 1, %d) FROM apps p WHERE %s",
			cutGUID, cutGUID, cutState, strings.Join(where, " AND ")))
}

// planV3 reads the rows that the last Cloud Controller with DEAs answers with (D21), under the guid of the process,
// which is what DEAs and the Cloud Controller's starts and stops know it by (D24, W57). The package state is found
// afterwards, see settle.
func planV3(d *dialect) plan {
	p := newPlanOf(d, schemaV3, v3Tables[:],
		fmt.Sprintf("SELECT p.id, substr(p.guid, 1, %d), substr(p.version, 1, %d), p.instances, p.state, substr(p.app_guid, 1, %d), substr(a.droplet_guid, 1, %d)"+
			" FROM processes p JOIN apps a ON a.guid = p.app_guid WHERE p.state = 'STARTED' AND %s", cutGUID, cutGUID, cutText, cutText, d.isFalse("p.diego")))
	for i, table := range [...]struct{ name, from string }{{"droplets", "package_guid"}, {"packages", "NULL"}} {
		from := table.from
		if from != "NULL" {
			from = fmt.Sprintf("substr(%s, 1, %d)", from, cutText)
		}
		p.bits[i] = fmt.Sprintf("SELECT app_guid, id, substr(guid, 1, %d), substr(state, 1, %d), %s, %s FROM %s WHERE app_guid ",
			cutText, cutState, strings.ReplaceAll(d.text, "{}", "created_at"), from, table.name)
	}
	return p
}

func newPlanOf(d *dialect, schema string, tables []string, pages string) plan {
	var marks []string
	for _, t := range tables { // one subquery each, so that every one is answered from an index
		marks = append(marks, fmt.Sprintf("(SELECT MAX(id) FROM %s)", t),
			fmt.Sprintf("(SELECT %s FROM %s)", strings.ReplaceAll(d.text, "{}", "MAX(updated_at)"), t),
			fmt.Sprintf("(SELECT %s FROM %s)", strings.ReplaceAll(d.text, "{}", "MAX(created_at)"), t))
	}
	return plan{schema: schema, tables: tables, mark: "SELECT " + strings.Join(marks, ", "), pages: pages, guids: d.among}
}

// page is the statement of the rows behind an id.
func (p plan) page(after int64, limit int) string {
	return p.pages + " AND p.id > " + strconv.FormatInt(after, 10) + " ORDER BY p.id LIMIT " + strconv.Itoa(limit)
}

// app is the statement of the rows of one droplet. Its parameters are the n ways of writing the guid.
func (p plan) app(n int) string {
	return p.pages + " AND p.id > 0 AND p.guid " + p.guids(n) + " ORDER BY p.id"
}

// ids are those of a mark that are of this plan's tables.
func (p plan) ids(m mark) []int64 { return m.ids[:len(p.tables)] }
