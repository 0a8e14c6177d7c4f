package sqldb

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"hm/desired"
	"hm/internal/app"
)

// sharedSegment is the guid of the isolation segment of everything that has no other one. Each Cloud Controller has it.
const (
	sharedSegment     = "933b4c58-120b-499a-b85d-4b6fc9e2903b"
	sharedSegmentName = "shared"
)

// narrow makes the plan read only the rows that a filter lets through. It finds the names of the filter in the same
// snapshot. A name that the database does not have is an error: if an organization was renamed, none of its apps may
// look deleted. A guid that it does not have lets nothing through: guids never change, so what had it is deleted.
func (snap *snapshot) narrow(ctx context.Context, f desired.Filter) error {
	if f.Empty() {
		return nil
	}
	if snap.plan.schema == schemaV2 && len(f.IsolationSegments) > 0 {
		return &Error{Kind: Schema, Err: fmt.Errorf("desired.filter.isolation_segments is set, and the tables of schema v2 are older than isolation segments"),
			Hint: "cut the platform by stacks or organizations"}
	}
	segments, err := snap.find(ctx, "isolation_segments", f.IsolationSegments)
	if err != nil {
		return err
	}
	stacks, err := snap.find(ctx, "stacks", f.Stacks)
	if err != nil {
		return err
	}
	organizations, err := snap.find(ctx, "organizations", f.Organizations)
	if err != nil {
		return err
	}
	var where []string
	if snap.plan.schema == schemaV2 {
		if len(f.Stacks) > 0 {
			where = append(where, "p.stack_id"+among(ids(stacks)))
		}
		if len(f.Organizations) > 0 {
			where = append(where, "p.space_id IN (SELECT s.id FROM spaces s WHERE s.organization_id"+among(ids(organizations))+")")
		}
	} else {
		var spaces []string
		if len(f.Organizations) > 0 {
			spaces = append(spaces, "o.id"+among(ids(organizations)))
		}
		if len(f.IsolationSegments) > 0 {
			list, err := literals("guid of the isolation segment", guids(segments, f.IsolationSegments))
			if err != nil {
				return err
			}
			spaces = append(spaces, "COALESCE(s.isolation_segment_guid, o.default_isolation_segment_guid, '"+sharedSegment+"')"+among(list))
		}
		if len(spaces) > 0 {
			where = append(where, "p.app_guid IN (SELECT own.guid FROM apps own JOIN spaces s ON s.guid = own.space_guid"+
				" JOIN organizations o ON o.id = s.organization_id WHERE "+strings.Join(spaces, " AND ")+")")
		}
		if len(f.Stacks) > 0 {
			list, err := literals("name of the stack", names(stacks))
			if err != nil {
				return err
			}
			where = append(where, "p.app_guid IN (SELECT b.app_guid FROM buildpack_lifecycle_data b WHERE b.stack"+among(list)+")")
		}
	}
	snap.plan.pages += " AND " + strings.Join(where, " AND ")
	return nil
}

// named is a row of a table that a filter names.
type named struct {
	id         int64
	guid, name string
}

// find reads the rows of a table that a filter names, by guid or by name.
func (snap *snapshot) find(ctx context.Context, table string, entries []string) (rows []named, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	seen := map[int64]bool{}
	for _, column := range []string{"guid", "name"} {
		statement := fmt.Sprintf("SELECT id, guid, name FROM %s WHERE %s %s", table, column, snap.dialect.among(len(entries)))
		err := snap.conn.query(ctx, statement, snap.dialect.list(entries), func(v [][]byte) error {
			id, err := strconv.ParseInt(string(v[0]), 10, 64)
			if err != nil {
				return &Error{Kind: BadRows, Err: fmt.Errorf("an id in %s is %.40q, not a whole number", table, v[0]), Hint: hintTable}
			}
			if !seen[id] {
				seen[id] = true
				rows = append(rows, named{id, string(v[1]), string(v[2])})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the table %s for desired.filter.%s: %w", table, table, err)
		}
	}
	for _, e := range entries {
		if !hasEntry(rows, e) && !isUUID(e) && (table != "isolation_segments" || e != sharedSegmentName) {
			return nil, &Error{Kind: BadRows, Err: fmt.Errorf("desired.filter.%s has %q, and the database has neither that name nor that guid", table, e),
				Hint: "correct it, or give the guid, which stays the same when the name changes"}
		}
	}
	return rows, nil
}

// hasEntry reports whether an entry of a filter names one of the rows. Some databases compare names without letter case.
func hasEntry(rows []named, entry string) bool {
	for _, r := range rows {
		if strings.EqualFold(r.guid, entry) || strings.EqualFold(r.name, entry) {
			return true
		}
	}
	return false
}

func isUUID(text string) bool {
	_, err := app.ParseGUID(text)
	return err == nil && len(text) == len(sharedSegment) && strings.Count(text, "-") == 4
}

func ids(rows []named) (list []string) {
	for _, r := range rows {
		list = append(list, strconv.FormatInt(r.id, 10))
	}
	return list
}

func names(rows []named) (list []string) {
	for _, r := range rows {
		list = append(list, r.name)
	}
	return list
}

// guids gives the guids of isolation segments. The shared one may have no row.
func guids(rows []named, entries []string) (list []string) {
	for _, r := range rows {
		list = append(list, r.guid)
	}
	for _, e := range entries {
		if e == sharedSegmentName || e == sharedSegment {
			return append(list, sharedSegment)
		}
	}
	return list
}

// plain is a text that may stand in a statement between quotation marks, in every database.
var plain = regexp.MustCompile(`^[A-Za-z0-9._:+ -]{1,255}$`)

// literals puts texts into quotation marks.
func literals(what string, texts []string) ([]string, error) {
	list := make([]string, len(texts))
	for i, t := range texts {
		if !plain.MatchString(t) {
			return nil, &Error{Kind: BadRows, Err: fmt.Errorf("the %s %.80q has a character that desired.filter does not take", what, t),
				Hint: "cut the platform by something else"}
		}
		list[i] = "'" + t + "'"
	}
	return list, nil
}

// among is the condition that a column is one of some values. None lets nothing through.
func among(values []string) string {
	if len(values) == 0 {
		return " IN (NULL)"
	}
	return " IN (" + strings.Join(values, ", ") + ")"
}
