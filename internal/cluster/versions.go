package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// The version of hm that wrote a data directory is in a small file in it. No decision depends on the file: whether a
// version can read a directory, it finds out from what is there. The file only lets an error name the version that can.

// versionFile is the name of the file in data_dir/raft.
const versionFile = "version.json"

const maxVersionFile = 4 << 10

// directoryVersion is the newest version of hm that used a data directory.
type directoryVersion struct {
	Version        string `json:"version"`
	Kinds          uint32 `json:"kinds"`           // highest entry kind that it knows
	SnapshotFormat uint32 `json:"snapshot_format"` // newest format of snapshots that it reads
}

// newerThan reports whether v knows formats that o does not know.
func (v directoryVersion) newerThan(o directoryVersion) bool {
	return v.Kinds > o.Kinds || v.SnapshotFormat > o.SnapshotFormat
}

func thisVersion(version string) directoryVersion {
	return directoryVersion{version, uint32(raftfsm.MaxKind), raftfsm.SnapshotFormat}
}

// readVersion reads the file in data_dir/raft; false if there is none that can be read.
func readVersion(dir string) (v directoryVersion, ok bool) {
	text, err := readSmall(filepath.Join(dir, versionFile), maxVersionFile)
	if err != nil || json.Unmarshal(text, &v) != nil || len(v.Version) > maxText {
		return directoryVersion{}, false
	}
	return v, true
}

// noteVersion writes this version into the file, unless a newer one is there. The node runs as well without it.
func (n *Node) noteVersion() {
	mine := thisVersion(n.opts.Version)
	if before, ok := readVersion(n.stores.dir); ok && (before == mine || before.newerThan(mine)) {
		return
	}
	text, err := json.Marshal(mine)
	if err == nil {
		err = replaceFile(filepath.Join(n.stores.dir, versionFile), append(text, '\n'))
	}
	if err != nil {
		n.opts.Logger.Warn("cannot note the version of hm in the data directory", "module", "cluster", "dir", n.stores.dir, "error", err)
	}
}

// noted gives the beginning of a hint that names the version in a data_dir/raft; empty if no newer one is known.
func noted(dir string) string {
	v, ok := readVersion(dir)
	if !ok || v.Version == "" || !v.newerThan(thisVersion("")) {
		return ""
	}
	return fmt.Sprintf("hm %s was the newest version that used the directory (kinds of record up to %d, formats of snapshots up to %d): ",
		v.Version, v.Kinds, v.SnapshotFormat)
}

// tooOld says what to do about a data directory that a newer version of hm wrote.
func tooOld(dataDir string, err error) error {
	if text := err.Error(); !strings.HasPrefix(text, "node.data_dir: ") {
		err = fmt.Errorf("node.data_dir: %s: %w", filepath.Join(dataDir, "raft"), err)
	}
	return &DataDirError{err, noted(filepath.Join(dataDir, "raft")) +
		"run that version of hm on this node, or a newer one; nothing was changed in the directory, and the node takes part in no election"}
}

// peerVersions names the versions of the members, for the end of a hint; empty if none is known.
func (n *Node) peerVersions() string {
	if n.raft == nil || n.peerStatus == nil {
		return ""
	}
	var told []string
	n.peerStatus.mu.Lock()
	for id, m := range n.peerStatus.latest {
		if i := m.message.Info; i != nil && i.Version != "" {
			told = append(told, fmt.Sprintf("%s runs hm %s", id, i.Version))
		}
	}
	n.peerStatus.mu.Unlock()
	if len(told) == 0 {
		return ""
	}
	slices.Sort(told)
	return " (" + strings.Join(told, ", ") + ")"
}

// errUnreadable says that a peer's version of hm cannot read a snapshot.
var errUnreadable = errors.New("the peer cannot read the snapshot")

// readableBy looks at the format of a snapshot that is to be sent to a peer, and gives a reader for the whole of it. It
// fails if the peer says that it does not read the format: the peer would refuse it.
func (n *Node) readableBy(id raft.ServerID, snapshot io.Reader) (io.Reader, error) {
	start := make([]byte, raftfsm.SnapshotStart)
	size, err := io.ReadFull(snapshot, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(start[:size]), snapshot)
	format, ok := raftfsm.SnapshotFormatOf(start[:size])
	if !ok || n.peerStatus == nil {
		return whole, nil
	}
	m, ok := n.peerStatus.latestFrom(string(id))
	if !ok || m.message.Info == nil || m.message.Info.SnapshotFormat == 0 || m.message.Info.SnapshotFormat >= format {
		return whole, nil
	}
	info := m.message.Info
	n.log.log(slog.LevelError, string(id), "a peer needs a snapshot that its version of hm cannot read: run this version of hm on it",
		"peer", id, "version", info.Version, "reads", info.SnapshotFormat, "snapshot", format)
	return nil, fmt.Errorf("%w: it has format %d, and %s reads formats up to %d", errUnreadable, format, id, info.SnapshotFormat)
}
