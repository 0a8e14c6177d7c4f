package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSetAsideKeepsFew(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "raft.db")
	for i := range 7 {
		if err := os.WriteFile(name, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := setAside(name, name); err != nil {
			t.Fatal(err)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(kept) != keepDamaged || filepath.Base(kept[keepDamaged-1]) != "raft.db.damaged-7" {
		t.Errorf("kept %v", kept)
	}
}
