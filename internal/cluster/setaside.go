package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// setAside renames path to name.damaged-N, with the next free N, and keeps only the newest keepDamaged of these.
func setAside(path, name string) (kept string, err error) {
	prefix := filepath.Base(name) + ".damaged-"
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	var numbers []int
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil && n > 0 {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	kept = name + ".damaged-" + strconv.Itoa(next)
	if err := os.Rename(path, kept); err != nil {
		return "", err
	}
	for len(numbers) >= keepDamaged {
		if err := os.RemoveAll(name + ".damaged-" + strconv.Itoa(numbers[0])); err != nil {
			return kept, err
		}
		numbers = numbers[1:]
	}
	return kept, errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(kept)))
}

// keepDamaged is how many damaged raft.db files, and how many damaged snapshots, are kept for a later look.
const keepDamaged = 3

// dropDifferingState sets all stores aside if the node stopped because its state differs from a majority's.
func dropDifferingState(dir string, alone bool, log *sampledLog) error {
	marker := filepath.Join(dir, differsMarker)
	text, err := readSmall(marker, 4<<10)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if alone {
		return fmt.Errorf("%s says that this node's state differs from that of its peers, and this node has no peer: remove %s",
			marker, marker)
	}
	what := strings.TrimSpace(string(text))
	if err := writeSynced(filepath.Join(dir, joiningMarker), healingPrefix+what+"\n"); err != nil {
		return err
	}
	db, err := setAside(filepath.Join(dir, "raft.db"), filepath.Join(dir, "raft.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	snapshots, err := setAside(filepath.Join(dir, "snapshots"), filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(marker); err != nil {
		return err
	}
	log.log(slog.LevelError, "", "this node's state differed from that of a majority: its Raft store was set aside, and it joins its cluster again",
		"difference", what, "kept_as", []string{db, snapshots})
	return syncDir(dir)
}

// differsMarker is the name of the file that tells the next start that this node's state differs from a majority's.
const differsMarker = "state-differs"
