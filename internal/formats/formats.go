// Package formats lists the formats in which hm stores and sends data: the version of each, where the version is found,
// and what an older and a newer hm do with the data. docs/formats.md is made of this list.
package formats

import (
	"hm/internal/cluster"
	"hm/internal/journal"
	"hm/internal/recording"
	"hm/internal/snapshotfile"
	"hm/raftfsm"
)

// API is the version of the HTTP API, as in its paths: /v1.
const API = 1

// Format is one format.
type Format struct {
	Key     string // in the output of hm version
	Name    string // for people
	Version int    // newest that this version of hm reads and writes
	Where   string // the version is found
	Older   string // what a newer hm does with data of an older version
	Newer   string // what an older hm does with data of a newer version
}

// All gives every format.
func All() []Format {
	return []Format{
		{"entry_kinds", "kinds of record in the Raft log", int(raftfsm.MaxKind),
			"the kind and the mark that a node may skip it, in each record of an entry",
			"reads every kind that was ever released",
			"skips a kind that is marked so. With any other, a node does not start, or stops, and says which kind it is. A leader proposes such a kind only when every voter knows it"},
		{"entry_checksum", "checksums of log entries and of stored values", cluster.ChecksumVersion,
			"the fourth byte of the checksum",
			"reads every version",
			"does not start, changes nothing, and says so"},
		{"snapshot", "snapshots", raftfsm.SnapshotFormat,
			"the four bytes after `hmsnap\\r\\n`; each record in it has its section and its version",
			"reads every format. It writes the oldest format that can hold the state",
			"a leader does not send it to a node that cannot read it, and such a node does not store it: it keeps its own, says `too-old` and goes on voting by its own log. A node whose own newest snapshot is newer does not start"},
		{"snapshot_file", "files of `hm snapshot save`", snapshotfile.Format,
			"the four bytes after `hmsave\\r\\n`; the snapshot in it has its own",
			"reads every format that was ever released",
			"refuses the file, and names the format"},
		{"state_hash", "the hash of the state", raftfsm.HashVersion,
			"`hash_version` in messages between nodes, and in the header of a snapshot",
			"does not compare it; a snapshot is still checked by its checksum",
			"the same"},
		{"peer_messages", "messages between nodes", cluster.MessageVersion,
			"the third byte of each message and reply",
			"cannot talk to it; both nodes say so in their logs, and try again",
			"the same. Fields that it does not know it ignores: they need no new version"},
		{"raft_protocol", "Raft's own requests", cluster.RaftProtocol,
			"the header of each request (hashicorp/raft)",
			"as hashicorp/raft defines it",
			"refuses the request"},
		{"history", "requests for another node's history", journal.PeerVersion,
			"the first byte of each request and answer",
			"asks another node",
			"asks another node"},
		{"journal", "the history in `journal.db`", journal.FileFormat,
			"the key `format` in the bucket `meta`",
			"reads it, or sets the file aside and fills a new one from its peers",
			"sets the file aside and fills a new one from its peers. An event with fields that it does not know is left out and counted (`hm_journal_unreadable_total`)"},
		{"recording", "recordings", recording.Format,
			"`format` in the first line",
			"reads every format",
			"refuses the file and names both formats"},
		{"api", "the HTTP API", API,
			"the path, `/v1`; `GET /openapi.yaml` describes it",
			"answers it",
			"fields are only ever added to it: a client ignores those that it does not know"},
	}
}

// Versions gives the version of each format by its key.
func Versions() map[string]int {
	versions := map[string]int{}
	for _, f := range All() {
		versions[f.Key] = f.Version
	}
	return versions
}
