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

	joined    string    // v3: start of the statement that joins processes to their apps; a list of ids follows
	artifacts [2]string // v3: start of the statements that read packages and droplets of apps; a condition follows
	scans     [3]string // v3: start of the statements that read all apps, packages and droplets; an id follows
}

// Values are cut to these lengths, which are longer than any valid value, so that a hostile value takes no memory.
const (
	cutGUID  = 130 // above app.MaxGUIDLen
	cutState = 40
	cutText  = 255 // length of the Cloud Controller's columns
	cutTime  = 26  // length of 2016-01-01 00:00:00.000000
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
// DEAs and the Cloud Controller's starts and stops use that guid (D24, W57). The pages have the processes alone. What
// their package states need is read by scans or by look-ups: see pass.
func planV3(d *dialect) plan {
	where := "p.state = 'STARTED' AND " + d.isFalse("p.diego")
	p := newPlanOf(d, schemaV3, v3Tables[:],
		fmt.Sprintf("SELECT p.id, substr(p.guid, 1, %d), substr(p.version, 1, %d), p.instances, p.state,"+
			" substr(p.app_guid, 1, %d) FROM processes p WHERE %s", cutGUID, cutGUID, cutText, where))
	p.joined = fmt.Sprintf("SELECT p.id, substr(p.app_guid, 1, %d), substr(a.droplet_guid, 1, %d)"+
		" FROM processes p JOIN apps a ON a.guid = p.app_guid WHERE p.id IN ", cutText, cutText)
	for i, table := range [...]struct{ name, from string }{{"packages", ""}, {"droplets", ", package_guid"}} {
		rows := "SELECT id, app_guid, guid, state, " + strings.ReplaceAll(d.time, "{}", "created_at") + table.from +
			" FROM " + table.name + " WHERE "
		p.artifacts[i], p.scans[i+1] = rows+"app_guid ", rows+"id"
	}
	p.scans[0] = "SELECT id, guid, droplet_guid FROM apps WHERE id"
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
	return p.pages + " AND p.id" + next("p.id", after, limit)
}

// scan returns the statement that reads the rows of a table after an id.
func (p plan) scan(table int, after int64, limit int) string {
	return p.scans[table] + next("id", after, limit)
}

// next returns the end of a statement that reads the rows after an id, in the order of their ids.
func next(id string, after int64, limit int) string {
	return " > " + strconv.FormatInt(after, 10) + " ORDER BY " + id + " LIMIT " + strconv.Itoa(limit)
}

// app returns the statement that reads the rows of one droplet. Its parameters are the n spellings of the guid.
func (p plan) app(n int) string {
	return p.pages + " AND p.id > 0 AND p.guid " + p.guids(n) + " ORDER BY p.id"
}

// joins returns the statement that joins processes, by their ids, to their apps.
func (p plan) joins(ids []int64) string {
	list := make([]byte, 0, 12*len(ids))
	for _, id := range ids {
		list = append(strconv.AppendInt(list, id, 10), ',')
	}
	return p.joined + "(" + string(list[:len(list)-1]) + ") ORDER BY p.id"
}

// ids returns the ids of m that belong to the plan's tables.
func (p plan) ids(m changeMark) []int64 { return m.ids[:len(p.tables)] }
