package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Files in the data directory, next to a directory for each node.
const (
	logName  = "dev.log"
	fileName = "dev.json"
	ccDBName = "cc.db" // the Cloud Controller's apps, in SQLite
)

// dataDir is where a sandbox keeps its data. The zero value is no directory.
type dataDir struct {
	path      string
	temporary bool
}

// openDataDir makes the directory, a temporary one if path is empty.
func openDataDir(path string) (dataDir, error) {
	if path == "" {
		made, err := os.MkdirTemp("", "hm-dev-")
		if err != nil {
			return dataDir{}, fmt.Errorf("making a temporary directory (--data-dir names another one): %w", err)
		}
		return dataDir{path: made, temporary: true}, nil
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(abs, 0o700)
	}
	if err != nil {
		return dataDir{}, fmt.Errorf("--data-dir: %w", err)
	}
	return dataDir{path: abs}, nil
}

// close removes a temporary directory.
func (d dataDir) close() error {
	if !d.temporary {
		return nil
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("removing the temporary directory: %w", err)
	}
	return nil
}

// saved is what a later sandbox on the same directory needs to continue: the nodes must have the same ids and
// addresses, and the simulation must create the same apps and DEAs.
type saved struct {
	Format    int           `json:"format"`
	Nodes     []peer        `json:"nodes"`
	DEAs      int           `json:"deas"`
	Apps      int           `json:"apps"`
	Instances int           `json:"instances_per_app"`
	Heartbeat time.Duration `json:"heartbeat_ns"`
	Seed      uint64        `json:"seed"`
	CCPassive bool          `json:"cc_passive"`
	Desired   string        `json:"desired,omitempty"`     // empty: bulk
	CCDBGiven bool          `json:"cc_db_given,omitempty"` // the apps are in another database; its address may be secret
}

// format is the version of the saved file.
const format = 1

// maxSavedSize bounds the saved file, in bytes.
const maxSavedSize = 1 << 20

// load returns what was saved, or the zero value in a new directory.
func (d dataDir) load() (saved, error) {
	path := filepath.Join(d.path, fileName)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}, nil
	}
	var data []byte
	if err == nil {
		defer file.Close()
		data, err = io.ReadAll(io.LimitReader(file, maxSavedSize))
	}
	if err != nil {
		return saved{}, fmt.Errorf("reading what the last hm dev saved: %w", err)
	}
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return saved{}, withHint(fmt.Errorf("%s: %w", path, err), "remove the directory to start anew")
	}
	if s.Format != format || len(s.Nodes) == 0 {
		err := fmt.Errorf("%s: format %d with %d nodes does not fit this version", path, s.Format, len(s.Nodes))
		return saved{}, withHint(err, "remove the directory to start anew")
	}
	return s, nil
}

// save writes what a later sandbox needs. It replaces the file as a whole.
func (d dataDir) save(s saved) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("saving %s: %w", fileName, err)
	}
	path := filepath.Join(d.path, fileName)
	err = os.WriteFile(path+".new", append(data, '\n'), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("saving %s: %w", fileName, err)
	}
	return nil
}
