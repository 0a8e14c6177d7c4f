package recording

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
)

const rowOne, rowTwo = `{"id":"a","version":"v","instances":3,"state":"STARTED","package_state":"STAGED"}`,
	`{"id":"3f2a1b4c-0d9e-4f00-8abc-0123456789ab","version":"0123456789abcdef0123456789abcdef","instances":0,"state":"STOPPED","package_state":"FAILED"}`

func desiredLine(rows, rest string) string {
	return `{"t":"2026-01-15T12:00:00Z","type":"desired","apps":[` + rows + `]` + rest + `}`
}

// sameLine reads a line with and without takeRows and compares the results. It reports whether takeRows has read the
// rows.
func sameLine(t *testing.T, text string) (taken bool) {
	t.Helper()
	var quick, slow Reader
	var a, b Event
	gotAll, gotErr := quick.parse([]byte(text), &a)
	wantAll, wantErr := slow.parseLine([]byte(text), nil, &b)
	if gotAll != wantAll || (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%s\nis read as %v, %v; without takeRows as %v, %v", text, gotAll, gotErr, wantAll, wantErr)
	}
	if !reflect.DeepEqual(a, b) || len(quick.rows) != len(slow.rows) || len(slow.rows) > 0 && !reflect.DeepEqual(quick.rows, slow.rows) || quick.hasRead != slow.hasRead {
		t.Fatalf("%s\nis read as %+v %v; without takeRows as %+v %v", text, a, quick.rows, b, slow.rows)
	}
	_, _, taken = takeRows([]byte(text))
	return taken
}

var unusualLines = []string{
	desiredLine("", ""), desiredLine(rowOne+",", ""), desiredLine(rowOne+rowTwo, ""), desiredLine(" "+rowOne, ""),
	desiredLine(rowOne, `,"apps":[]`), desiredLine(rowOne, `,"Apps":null`), desiredLine(rowOne, `,"app\u0073":[]`), desiredLine(rowOne, `,"appſ":[]`),
	desiredLine(strings.Replace(rowOne, "3", "65537", 1), ""), desiredLine(strings.Replace(rowOne, "3", "03", 1), ""), desiredLine(strings.Replace(rowOne, "3", "3e0", 1), ""),
	desiredLine(strings.Replace(rowOne, "3", "99999999999", 1), ""), desiredLine(strings.Replace(rowOne, `"a"`, `"\u0061"`, 1), ""), desiredLine(strings.Replace(rowOne, `"a"`, `""`, 1), ""),
	desiredLine(strings.Replace(rowOne, "STARTED", "started", 1), ""), desiredLine(rowOne[:len(rowOne)-1]+`,"id":"b"}`, ""),
	strings.TrimSuffix(desiredLine(rowOne, ""), "]}"), desiredLine(rowOne, "\x01"),
	`{"t":"2026-01-15T12:00:00Z","type":"desired","apps":[` + rowOne, `{"t":","type":"desired","apps":[`,
}

var usualLines = []string{
	desiredLine(rowOne, ""), desiredLine(rowOne+","+rowTwo, `,"more":true`), desiredLine(rowOne+","+rowOne, ""), desiredLine(rowTwo, `,"source":"x","unreadable":["b"]`),
	desiredLine(rowOne, `,"type":"link","up":true`), desiredLine(rowOne, `,"error":"x"`), desiredLine(rowOne, `,"began":"2026-01-15T12:00:01Z"`), desiredLine(rowOne, `,"t":"x"`), desiredLine(rowOne, `,`),
	strings.TrimSuffix(desiredLine(rowOne, ""), "}"), desiredLine(rowOne, "") + "x",
}

func TestTakeRowsChangesNothing(t *testing.T) {
	for _, text := range unusualLines {
		if sameLine(t, text) {
			t.Errorf("takeRows reads %s", text)
		}
	}
	for _, text := range usualLines {
		if !sameLine(t, text) {
			t.Errorf("takeRows does not read %s", text)
		}
	}
}

// takeRows reads the rows that a Writer has written.
func TestTakeRowsReadsWhatIsWritten(t *testing.T) {
	data, err := os.ReadFile("../../testdata/recordings/R42-steady.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, `"apps":[{`) {
			n++
			if !sameLine(t, strings.TrimSuffix(line, "\n")) {
				t.Errorf("takeRows does not read %s", line)
			}
		}
	}
	if n == 0 {
		t.Error("the recording has no rows")
	}
}

func FuzzRows(f *testing.F) {
	for _, text := range append(unusualLines, usualLines...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { sameLine(t, text) })
}

// BenchmarkRows reads a line of 50,000 rows.
func BenchmarkRows(b *testing.B) {
	rows := make([]string, rowsPerLine)
	for i := range rows {
		g := app.FromBinary([16]byte{1, byte(i >> 8), byte(i)}, 'u').String()
		rows[i] = strings.Replace(strings.Replace(rowTwo, "3f2a1b4c-0d9e-4f00-8abc-0123456789ab", g, 1), "STOPPED", "STARTED", 1)
	}
	text := []byte(desiredLine(strings.Join(rows, ","), ""))
	for b.Loop() {
		var r Reader
		var e Event
		if _, err := r.parse(text, &e); err != nil || !e.At.Equal(time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)) {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(text)))
}
