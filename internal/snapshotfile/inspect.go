package snapshotfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hm/internal/app"
	"hm/raftfsm"
)

// Kinds of files.
const (
	KindSaved = "saved" // hm snapshot save wrote it
	KindRaft  = "raft"  // of a node's data directory
)

// Summary says what is in a snapshot that was read and checked as a whole.
type Summary struct {
	File    string `json:"file"`
	Kind    string `json:"kind"` // saved; or raft, in a node's data directory
	Size    int64  `json:"size"` // of the file, in bytes
	Format  int    `json:"format"`
	Cluster string `json:"cluster"` // id of the cluster; empty: it had none
	Index   uint64 `json:"index"`   // of the newest entry in it
	Term    uint64 `json:"term"`    // of this entry
	Time    string `json:"time"`    // hm time of this entry
	Hash    string `json:"state_hash"`
	SavedAt string `json:"saved_at,omitempty"` // the rest of these: only of a saved file
	Node    string `json:"node,omitempty"`
	Version string `json:"hm_version,omitempty"`

	Restores         uint64   `json:"restores"` // how often the cluster had restored a snapshot
	Apps             int      `json:"apps"`     // that should run
	DesiredInstances int      `json:"desired_instances"`
	DEAs             int      `json:"deas"`
	GoneDEAs         int      `json:"gone_deas"`
	Instances        int      `json:"instances"`
	Crashes          int      `json:"crash_records"`
	Commands         int      `json:"outstanding_commands"`
	Holds            []string `json:"holds"` // by name
}

// Inspect reads and checks a whole file: one of hm snapshot save, or a snapshot of raft. Of a data directory it takes the
// newest snapshot.
func Inspect(path string) (sum Summary, err error) {
	if path, err = newestIn(path); err != nil {
		return sum, err
	}
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sum, err
	}
	in := bufio.NewReaderSize(f, 1<<20)
	sum = Summary{File: path, Kind: KindSaved, Size: info.Size(), Format: Format}
	var state *raftfsm.State
	if start, _ := in.Peek(len(magic)); string(start) == raftMagic {
		sum.Kind = KindRaft
		if state, err = raftfsm.RestoreState(in); err != nil {
			return sum, fmt.Errorf("%s: %w", path, err)
		}
	} else {
		var h Header
		if state, h, err = Read(in); err != nil {
			return sum, fmt.Errorf("%s: %w", path, err)
		}
		sum.SavedAt, sum.Node, sum.Version = h.SavedAt.UTC().Format("2006-01-02T15:04:05Z"), h.Node, h.Version
	}
	sum.describe(state)
	return sum, nil
}

// raftMagic begins a snapshot of package raftfsm.
const raftMagic = "hmsnap\r\n"

func (sum *Summary) describe(state *raftfsm.State) {
	c := state.Counts()
	sum.Cluster, sum.Index, sum.Term, sum.Hash = state.ClusterID().String(), state.Index(), state.Term(), state.Hash().String()
	sum.Time = timeText(state.Time())
	sum.Restores, sum.Apps, sum.DesiredInstances = state.Restores(), c.Apps, c.DesiredInstances
	sum.DEAs, sum.GoneDEAs, sum.Instances = c.DEAs, c.GoneDEAs, c.Instances
	for range state.AllCrashes() {
		sum.Crashes++
	}
	for range state.AllCommands() {
		sum.Commands++
	}
	sum.Holds = []string{}
	for _, h := range state.Holds() {
		sum.Holds = append(sum.Holds, h.Name)
	}
}

func timeText(t app.Time) string {
	if t == 0 {
		return ""
	}
	return t.Std().Format("2006-01-02T15:04:05.000Z")
}

// newestIn gives the newest snapshot of raft in a data directory, and path itself if it is no directory.
func newestIn(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return path, err
	}
	found, err := filepath.Glob(filepath.Join(path, "raft", "snapshots", "*", "state.bin"))
	if err != nil {
		return "", err
	}
	newest, at := "", uint64(0)
	for _, file := range found {
		if strings.HasSuffix(filepath.Dir(file), ".tmp") { // it was not finished
			continue
		}
		head, err := headOf(file)
		if err == nil && (newest == "" || head.Index >= at) {
			newest, at = file, head.Index
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%s has no snapshot: it is no file of hm snapshot save, and no node.data_dir in which raft has taken a snapshot", path)
	}
	return newest, nil
}

// headOf reads the header of a snapshot of raft.
func headOf(path string) (raftfsm.SnapshotHeader, error) {
	f, err := os.Open(path)
	if err != nil {
		return raftfsm.SnapshotHeader{}, err
	}
	defer f.Close()
	enough := errors.New("enough")
	head, err := raftfsm.ReadSnapshot(f, func(raftfsm.SnapshotRecord) error { return enough })
	if errors.Is(err, enough) {
		err = nil
	}
	return head, err
}

// Save copies a file that is being received to path, checks it, and only then gives it its name: there is never half a
// file under that name. progress is told the bytes so far.
func Save(path string, in io.Reader, progress func(int64)) (h Header, size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return h, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if size, err = io.Copy(f, &counted{in, 0, progress}); err != nil {
		return h, size, fmt.Errorf("receiving the snapshot: %w", err)
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return h, size, err
	}
	if _, h, err = Read(bufio.NewReaderSize(f, 1<<20)); err != nil {
		return h, size, fmt.Errorf("checking the snapshot that was received: %w", err)
	}
	if err = errors.Join(f.Chmod(0o640), f.Sync()); err != nil {
		return h, size, err
	}
	if err = f.Close(); err != nil {
		return h, size, err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return h, size, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return h, size, err
	}
	return h, size, errors.Join(dir.Sync(), dir.Close())
}

// counted counts what is read.
type counted struct {
	r    io.Reader
	n    int64
	told func(int64)
}

// Read reads.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if c.n += int64(n); c.told != nil {
		c.told(c.n)
	}
	return n, err
}
