package bulk

import (
	"reflect"
	"slices"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

// TestPackedRowsAreTheRows: whatever the form and the letter case of its guids, a row is packed and read again.
func TestPackedRowsAreTheRows(t *testing.T) {
	texts := []string{
		"0000000b-0d9e-4f00-8abc-0123456789ab", "0000000B-0D9E-4f00-8abc-0123456789ab",
		"0000000b0d9e4f008abc0123456789ab", "0000000b0D9E4f008abc0123456789ab", "00000000000000000000000000000000", "some-app",
	}
	var apps []desired.App
	var page []uint32
	others := 0
	for i, droplet := range texts {
		for j, version := range texts {
			a := desired.App{Key: app.Key{Droplet: app.MustGUID(droplet), Version: app.MustGUID(version)},
				Instances: []uint32{0, 3, desired.MaxInstances}[i%3], State: desired.RunState(1 + i%2), Package: desired.PackageState(1 + j%3)}
			a.LetterCase = app.KeyLetterCase{Droplet: app.LetterCaseOf(a.Key.Droplet, droplet), Version: app.LetterCaseOf(a.Key.Version, version)}
			if i%2 == 1 || j%2 == 1 {
				others++
			}
			apps, page = append(apps, a), append(page, uint32(10*i+j))
		}
	}
	rows := pack(apps, page)
	if got := rows.apps(); !slices.Equal(got, apps) {
		t.Errorf("the rows are\n%v, want\n%v", got, apps)
	}
	for i, p := range rows.packed {
		if p.page != page[i] {
			t.Errorf("row %d is on page %d, want %d", i, p.page, page[i])
		}
	}
	if len(rows.others) != others {
		t.Errorf("%d rows are not packed, want %d", len(rows.others), others)
	}
}

// TestAPackedRowHasNoPointers: the garbage collector goes through every list whose elements have a pointer.
func TestAPackedRowHasNoPointers(t *testing.T) {
	row := reflect.TypeFor[packedRow]()
	for i := range row.NumField() {
		kind := row.Field(i).Type.Kind()
		if kind == reflect.Array {
			kind = row.Field(i).Type.Elem().Kind()
		}
		if kind < reflect.Bool || kind > reflect.Uint64 {
			t.Errorf("%s is a %v", row.Field(i).Name, kind)
		}
	}
	if row.Size() > 44 {
		t.Errorf("a row has %d bytes", row.Size())
	}
}
