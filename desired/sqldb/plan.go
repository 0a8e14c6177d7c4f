package sqldb

import (
	"fmt"
	"strconv"
	"strings"
)

// plan has the statements that read one database.
type plan struct {
	schema string
	tables []string // tables of the change mark
	mark   string   // statement: highest id, newest updated_at and created_at of each of the tables
	pages  string   // start of the statement that reads rows; a condition on id or guid follows
	guids  func(n int) string

	artifacts [2]string // v3: start of the statements that read droplets and packages; a condition on app_guid follows
}

// Values are cut to these lengths, which are longer than any valid value, so that a hostile value takes no memory.
const (
	cutGUID  = 130 // above app.MaxGUIDLen
	cutState = 40
	cutText  = 255 // length of the Cloud Controller's columns
)

// planV2 reads the rows that a v2 Cloud Controller returns: started, not deleted, not on Diego (D17). Rows whose
// staging failed are left out later, as in v3.
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
		fmt.Sprintf("SELECT p.id, substr(p.guid, 1, %d), substr(p.version, 1, %d), p.instances, p.state,"+
			" substr(p.package_state, 1, %d) FROM apps p WHERE %s",
			cutGUID, cutGUID, cutState, strings.Join(where, " AND ")))
}

// planV3 reads the rows that the last Cloud Controllers with DEAs return (D21). An app has the guid of its process:
// DEAs and the Cloud Controller's starts and stops use that guid (D24, W57). The package state is added later: see
// addPackageStates.
func planV3(d *dialect) plan {
	p := newPlanOf(d, schemaV3, v3Tables[:],
		fmt.Sprintf("SELECT p.id, substr(p.guid, 1, %d), substr(p.version, 1, %d), p.instances, p.state,"+
			" substr(p.app_guid, 1, %d), substr(a.droplet_guid, 1, %d)"+
			" FROM processes p JOIN apps a ON a.guid = p.app_guid WHERE p.state = 'STARTED' AND %s",
			cutGUID, cutGUID, cutText, cutText, d.isFalse("p.diego")))
	for i, table := range [...]struct{ name, from string }{{"droplets", "package_guid"}, {"packages", "NULL"}} {
		from := table.from
		if from != "NULL" {
			from = fmt.Sprintf("substr(%s, 1, %d)", from, cutText)
		}
		p.artifacts[i] = fmt.Sprintf("SELECT app_guid, id, substr(guid, 1, %d), substr(state, 1, %d), %s, %s FROM %s"+
			" WHERE app_guid ",
			cutText, cutState, strings.ReplaceAll(d.text, "{}", "created_at"), from, table.name)
	}
	return p
}

func newPlanOf(d *dialect, schema string, tables []string, pages string) plan {
	var marks []string
	for _, t := range tables { // one subquery each, so that each can use an index
		marks = append(marks, fmt.Sprintf("(SELECT MAX(id) FROM %s)", t),
			fmt.Sprintf("(SELECT %s FROM %s)", strings.ReplaceAll(d.text, "{}", "MAX(updated_at)"), t),
			fmt.Sprintf("(SELECT %s FROM %s)", strings.ReplaceAll(d.text, "{}", "MAX(created_at)"), t))
	}
	return plan{schema: schema, tables: tables, mark: "SELECT " + strings.Join(marks, ", "), pages: pages, guids: d.among}
}

// page returns the statement that reads the rows after an id.
func (p plan) page(after int64, limit int) string {
	return p.pages + " AND p.id > " + strconv.FormatInt(after, 10) + " ORDER BY p.id LIMIT " + strconv.Itoa(limit)
}

// app returns the statement that reads the rows of one droplet. Its parameters are the n spellings of the guid.
func (p plan) app(n int) string {
	return p.pages + " AND p.id > 0 AND p.guid " + p.guids(n) + " ORDER BY p.id"
}

// ids returns the ids of m that belong to the plan's tables.
func (p plan) ids(m changeMark) []int64 { return m.ids[:len(p.tables)] }
