package cc

import (
	"testing"
)

// FuzzTake: no message on the Cloud Controller's subjects, and no bulk token, makes it fail.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{`{"message_id":"m","droplet":"a","version":"b","instance_index":0,"instance_guid":"g","is_duplicate":false}`,
		`{"droplet":"a","version":"b"}`, `[]`, `{"instance_index":4294967296}`, `null`} {
		f.Add([]byte(seed))
	}
	c := openController(f, Options{}, 0)
	if _, err := c.apps.insert(goodRow()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		c.take(ActionStart, subjectHMStart, data)
		c.take(ActionStop, subjectHMStop, data)
		parseToken(string(data))
	})
}
