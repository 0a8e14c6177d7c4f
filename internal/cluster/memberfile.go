package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"hm/internal/config/limits"
)

// memberFile says whose data directory this is, and which members the cluster had when this node last looked. The log
// says it as well, but only to a node that can read it: the file tells a node with a lost or damaged log that it is not
// alone, and a removed node that the directory is its own.
type memberFile struct {
	Format  int      `json:"format"`
	Node    string   `json:"node"`
	Index   uint64   `json:"index"` // of the entry that names the members
	Members []server `json:"members"`
	// Lost are members that hm cluster recover left out: they may still form the old cluster. This node takes nothing from
	// them until they are members again.
	Lost []string `json:"lost,omitempty"`
}

// server is one member, as files and messages of hm name it.
type server struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter,omitempty"`
}

const (
	memberFileName = "members.json"
	maxMemberFile  = 64 << 10
)

func serversOf(servers []raft.Server) []server {
	list := make([]server, 0, len(servers))
	for _, s := range servers {
		list = append(list, server{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	slices.SortFunc(list, func(a, b server) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (s server) raft() raft.Server {
	suffrage := raft.Nonvoter
	if s.Voter {
		suffrage = raft.Voter
	}
	return raft.Server{Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address)}
}

func peersOf(servers []raft.Server) []Peer {
	list := make([]Peer, 0, len(servers))
	for _, s := range servers {
		list = append(list, Peer{string(s.ID), string(s.Address)})
	}
	return list
}

// checkServers refuses what cannot be the members of a cluster.
func checkServers(list []server) error {
	if len(list) > maxPeers {
		return fmt.Errorf("it names %d members, at most %d are allowed", len(list), maxPeers)
	}
	for _, s := range list {
		if err := limits.NodeID(s.ID); err != nil {
			return fmt.Errorf("the id of a member %w", err)
		}
		if _, _, err := limits.Reachable(s.Address); err != nil {
			return fmt.Errorf("the address %.200q of %s %w", s.Address, s.ID, err)
		}
	}
	return nil
}

// readMemberFile reads the file in dir; the zero value if there is none.
func readMemberFile(dir string) (memberFile, error) {
	path := filepath.Join(dir, memberFileName)
	b, err := readSmall(path, maxMemberFile)
	if errors.Is(err, os.ErrNotExist) {
		return memberFile{}, nil
	}
	if err != nil {
		return memberFile{}, err
	}
	f, err := decodeMemberFile(b)
	if err != nil {
		return memberFile{}, fmt.Errorf("%s: %w; remove it: hm writes it again", path, err)
	}
	return f, nil
}

func decodeMemberFile(b []byte) (f memberFile, err error) {
	if err := json.Unmarshal(b, &f); err != nil { // a later version may have written fields that this one does not know
		return memberFile{}, err
	}
	if f.Format != 1 {
		return memberFile{}, fmt.Errorf("its format is %d, this version of hm knows only 1", f.Format)
	}
	if err := limits.NodeID(f.Node); err != nil {
		return memberFile{}, fmt.Errorf("the id of the node %w", err)
	}
	if len(f.Lost) > maxPeers {
		return memberFile{}, fmt.Errorf("it names %d lost members, at most %d are allowed", len(f.Lost), maxPeers)
	}
	return f, checkServers(f.Members)
}

// write replaces the file in dir.
func (f memberFile) write(dir string) error {
	f.Format = 1
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, memberFileName), b)
}
