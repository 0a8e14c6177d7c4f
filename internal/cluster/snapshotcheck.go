package cluster

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/xxh3"

	"hm/raftfsm"
)

const (
	snapshotMeta  = "meta.json"
	snapshotState = "state.bin"
	snapshotSum   = "meta.sum"

	maxSnapshotMeta = 1 << 20
)

// snapshotFacts are the fields that hm uses of a snapshot's meta.json.
type snapshotFacts struct {
	Index, Term uint64
	Size        int64
	CRC         []byte
}

// foundSnapshots says what the directory of the snapshots contains.
type foundSnapshots struct {
	newest  *snapshotFacts // the newest usable one; nil if there is none
	damaged []string       // directories of damaged ones; those older than newest are not checked
	why     error          // the damage of the first of them
}

// findSnapshots looks for the newest usable snapshot.
func findSnapshots(dir string) (found foundSnapshots, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") { // of a snapshot that was not finished
			continue
		}
		path := filepath.Join(dir, e.Name())
		facts, err := readSnapshotMeta(path)
		if err == nil && found.newest != nil && facts.Index <= found.newest.Index {
			continue
		}
		if err == nil {
			facts, err = checkSnapshot(path)
		}
		switch {
		case err == nil:
			found.newest = &facts
		case errors.Is(err, errDamaged):
			found.damaged = append(found.damaged, path)
			if found.why == nil {
				found.why = err
			}
		default:
			return found, fmt.Errorf("reading the snapshot %s: %w", path, err)
		}
	}
	return found, nil
}

// checkSnapshot reads a whole snapshot, and fails with errDamaged if it is not what was written.
func checkSnapshot(dir string) (snapshotFacts, error) {
	facts, err := readSnapshotMeta(dir)
	if err != nil {
		return facts, err
	}
	f, err := os.Open(filepath.Join(dir, snapshotState))
	if errors.Is(err, os.ErrNotExist) {
		return facts, damagef("the snapshot %s has no %s", filepath.Base(dir), snapshotState)
	}
	if err != nil {
		return facts, err
	}
	defer f.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	size, err := io.Copy(sum, f)
	if err != nil {
		return facts, err
	}
	if size != facts.Size || string(sum.Sum(nil)) != string(facts.CRC) {
		return facts, damagef("%s of the snapshot %s does not match its checksum", snapshotState, filepath.Base(dir))
	}
	return facts, nil
}

func readSnapshotMeta(dir string) (facts snapshotFacts, err error) {
	meta, err := readSmall(filepath.Join(dir, snapshotMeta), maxSnapshotMeta)
	if errors.Is(err, os.ErrNotExist) {
		return facts, damagef("the snapshot %s has no %s", filepath.Base(dir), snapshotMeta)
	}
	if err != nil {
		return facts, err
	}
	sum, err := readSmall(filepath.Join(dir, snapshotSum), 1<<10)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return facts, damagef("the snapshot %s has no checksum for its %s", filepath.Base(dir), snapshotMeta)
	case err != nil:
		return facts, err
	case newerSum(string(sum)):
		return facts, fmt.Errorf("%s of the snapshot %s has a checksum of another version than this version of hm knows: %w",
			snapshotMeta, filepath.Base(dir), raftfsm.ErrNewer)
	case string(sum) != metaSum(meta):
		return facts, damagef("%s of the snapshot %s does not match its checksum", snapshotMeta, filepath.Base(dir))
	}
	if err := json.Unmarshal(meta, &facts); err != nil {
		return facts, damagef("%s of the snapshot %s: %v", snapshotMeta, filepath.Base(dir), err)
	}
	return facts, nil
}

func sealSnapshot(dir string) error {
	meta, err := readSmall(filepath.Join(dir, snapshotMeta), maxSnapshotMeta)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(dir, snapshotSum), metaSum(meta))
}

// sumMark begins the file with the checksum; its last character but one is the version.
const sumMark = "hms1 "

// newerSum reports whether a newer version of hm made the checksum.
func newerSum(sum string) bool {
	return len(sum) > len(sumMark) && sum[:3] == sumMark[:3] && sum[3] > sumMark[3] && sum[3] <= '9' && sum[4] == sumMark[4]
}

func metaSum(meta []byte) string {
	sum := xxh3.Hash128(meta).Bytes()
	return sumMark + hex.EncodeToString(sum[:]) + "\n"
}
