package cluster

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hm/raftfsm"
)

// wide is a record of some kilobytes.
func wide(i int) raftfsm.DEAChanges {
	d := raftfsm.DEAChanges{DEA: deaID(i)}
	for j := range 100 {
		d.Upserts = append(d.Upserts, instance(i<<8+j))
	}
	return d
}

func (c *testCluster) file(i int, name ...string) string {
	return filepath.Join(append([]string{c.opts[i].DataDir, "raft"}, name...)...)
}

// storeOf records so many wide entries on a single node, closes it, and gives its raft.db.
func (c *testCluster) storeOf(entries int) []byte {
	c.t.Helper()
	for i := range entries {
		c.propose(wide(i))
	}
	c.close(0)
	db, err := os.ReadFile(c.file(0, "raft.db"))
	if err != nil {
		c.t.Fatal(err)
	}
	return db
}

// flip changes one bit of a file, in place.
func flip(t testing.TB, path string, at int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// flipText flips a bit in each occurrence of text in a file: bbolt leaves old copies of its pages behind.
func flipText(t testing.TB, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for at := 0; ; at += len(text) {
		n := bytes.Index(b[at:], []byte(text))
		if n < 0 {
			break
		}
		at += n
		flip(t, path, int64(at), 1)
		found = true
	}
	if !found {
		t.Fatalf("%s does not hold %q", path, text)
	}
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}
