package cluster

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// oneStream lets raft's transport dial a single connection.
type oneStream struct {
	net.Listener
	conn net.Conn
}

func (s oneStream) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) { return s.conn, nil }

// written gives the bytes that raft's transport sends for a request.
func written(t testing.TB, send func(*raft.NetworkTransport) error) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: oneStream{l, ours}, Timeout: patience, MsgpackUseNewTimeFormat: true})
	defer trans.Close()
	got := make(chan []byte)
	go func() {
		var b bytes.Buffer
		_ = theirs.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 1<<20)
		var m requestScanner
		for m.requests == 0 {
			n, err := theirs.Read(buf)
			if err != nil || m.feed(buf[:n]) != nil {
				break
			}
			b.Write(buf[:n])
		}
		_ = theirs.Close()
		got <- b.Bytes()
	}()
	_ = send(trans) // nobody replies
	return <-got
}

func requests(t testing.TB) map[string][]byte {
	head := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("hm-1"), Addr: []byte("10.0.0.1:7140")}
	entry := func(size int) *raft.Log {
		return &raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte{0xdd}, size), Extensions: []byte{1}, AppendedAt: time.Now()}
	}
	full := make([]*raft.Log, maxAppend)
	for i := range full {
		full[i] = entry(512 << 10)
	}
	const id, at = "x", "y:1"
	return map[string][]byte{
		"heartbeat": written(t, func(n *raft.NetworkTransport) error {
			return n.AppendEntries(id, at, &raft.AppendEntriesRequest{RPCHeader: head, Term: 1 << 40}, &raft.AppendEntriesResponse{})
		}),
		"entries": written(t, func(n *raft.NetworkTransport) error {
			return n.AppendEntries(id, at, &raft.AppendEntriesRequest{RPCHeader: head, Term: 300, Entries: []*raft.Log{entry(0), entry(40), entry(300), entry(70_000)}}, &raft.AppendEntriesResponse{})
		}),
		"as many full entries as go into one": written(t, func(n *raft.NetworkTransport) error {
			return n.AppendEntries(id, at, &raft.AppendEntriesRequest{RPCHeader: head, Entries: full}, &raft.AppendEntriesResponse{})
		}),
		"vote": written(t, func(n *raft.NetworkTransport) error {
			return n.RequestVote(id, at, &raft.RequestVoteRequest{RPCHeader: head, Term: 70_000, LastLogIndex: 1 << 33}, &raft.RequestVoteResponse{})
		}),
		"pre-vote": written(t, func(n *raft.NetworkTransport) error {
			return n.RequestPreVote(id, at, &raft.RequestPreVoteRequest{RPCHeader: head, Term: 1}, &raft.RequestPreVoteResponse{})
		}),
		"timeout now": written(t, func(n *raft.NetworkTransport) error {
			return n.TimeoutNow(id, at, &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
		}),
		"snapshot": written(t, func(n *raft.NetworkTransport) error {
			return n.InstallSnapshot(id, at, &raft.InstallSnapshotRequest{RPCHeader: head, Size: 100_000, Configuration: []byte("{}")}, &raft.InstallSnapshotResponse{},
				bytes.NewReader(bytes.Repeat([]byte{3}, 100_000)))
		}),
	}
}

// The scanner accepts what raft sends, in pieces of any size, and finds where each request ends.
func TestScannerAcceptsRaftRequests(t *testing.T) {
	var all []byte
	n := 0
	for name, b := range requests(t) {
		for _, step := range []int{1, 7, 4096, len(b)} {
			if step == 1 && len(b) > 1<<20 {
				continue
			}
			var ids []string
			m := requestScanner{allow: func(id string) error { ids = append(ids, id); return nil }}
			for rest := b; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if m.at == betweenRequests && m.requests > 0 {
					t.Fatalf("%s: the request ends %d bytes early", name, len(rest))
				}
				if err := m.feed(rest[:min(step, len(rest))]); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if m.requests != 1 || m.at != betweenRequests || len(ids) != 1 || ids[0] != "hm-1" {
				t.Errorf("%s, %d bytes at a time: %d requests, of %v", name, step, m.requests, ids)
			}
		}
		all = append(all, b...)
		n++
	}
	m := requestScanner{}
	for rest := all; len(rest) > 0; {
		step := min(1+rand.IntN(300_000), len(rest))
		if err := m.feed(rest[:step]); err != nil {
			t.Fatal(err)
		}
		rest = rest[step:]
	}
	if m.requests != n {
		t.Errorf("%d requests one after the other are %d", n, m.requests)
	}
}

func TestScannerRefuses(t *testing.T) {
	many := strings.Repeat("\x80", maxRequestValues)
	for _, tt := range []struct{ name, sent, want string }{
		{"no request", "\x05", "kind 5"},
		{"no map", "\x00\xc0", "not a map"},
		{"a list", "\x00\x93\x01\x02\x03", "in a wrong place"},
		{"an empty map", "\x00\x80", "empty"},
		{"a map of 4 billion", "\x00\xdf\xff\xff\xff\xff", "4294967295 values"},
		{"4 billion entries", "\x00\x81\xa7Entries\xdd\xff\xff\xff\xff", "4294967295 values"},
		{"an entry that is nil", "\x00\x81\xa7Entries\x91\xc0", "an entry is not a map"}, // it would make raft's main loop panic
		{"an entry that is a list", "\x00\x81\xa7Entries\x91\x90", "in a wrong place"},
		{"many small entries", "\x00\x81\xa7Entries\xdd\x00\x00\x80\x00" + many, "values"},
		{"a list in an entry", "\x00\x81\xa7Entries\x91\x81\xa4Data\x91\x00", "in a wrong place"},
		{"a list where bytes belong", "\x01\x81\xa9Candidate\x91\x00", "in a wrong place"},
		{"100 MB in one field", "\x01\x81\xa9Candidate\xc6\x06\x40\x00\x00", "longer than"},
		{"a field named by a number", "\x01\x81\x01\x01", "not a text"},
		{"a field with a long name", "\x01\x81\xda\xff\xff", "65535 bytes, at most 255"},
		{"a long id", "\x01\x81\xa2ID\xc5\x01\x00", "256 bytes, at most 255"},
		{"no msgpack", "\x01\x81\xa1x\xc1", "0xc1"},
		{"a snapshot without end", "\x02\x81\xa4Size\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", "a snapshot has 9223372036854775807 bytes"},
		{"a snapshot of less than nothing", "\x02\x81\xa4Size\xff", "a snapshot has -1 bytes"},
		{"a snapshot without end, unsigned", "\x02\x81\xa4Size\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "a snapshot has 9223372036854775807 bytes"},
		{"a snapshot whose size is a text", "\x02\x81\xa4Size\xa1x", "type"},
		{"a snapshot whose size is a fraction", "\x02\x81\xa4Size\xcb\x00\x00\x00\x00\x00\x00\x00\x00", "whole number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m requestScanner
			if err := m.feed([]byte(tt.sent)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one that says %q", err, tt.want)
			}
			one := requestScanner{}
			var err error
			for i := 0; i < len(tt.sent) && err == nil; i++ {
				err = one.feed([]byte{tt.sent[i]})
			}
			if err == nil {
				t.Error("byte by byte it is accepted")
			}
		})
	}

	var m requestScanner // many fields, none of them too long
	part := append([]byte("\xa4Data\xc6\x00\x10\x00\x00"), make([]byte, 1<<20)...)
	err := m.feed([]byte("\x00\x8f"))
	fed := 0
	for ; err == nil && fed < 64; fed++ {
		err = m.feed(part)
	}
	if fed < 15 && err == nil || fed > 18 {
		t.Errorf("%d MiB of a request were accepted: %v", fed, err)
	}
}

func TestScannerChecksTheSender(t *testing.T) {
	wrong := errors.New("wrong")
	for _, tt := range []struct{ sent, id string }{
		{"\x01\x82\xa2ID\xa4hm-1\xa4Term\x01", "hm-1"},
		{"\x01\x82\xa2ID\xc4\x04hm-1\xa4Term\xc3", "hm-1"},
		{"\x01\x81\xa4Term\x01", ""},
		{"\x01\x81\xa2ID\xc0", ""},
		{"\x01\x82\xa2ID\xa4hm-1\xa2ID\xa4hm-2", "hm-2"}, // raft's decoder takes the last, too
		{"\x01\x82\xa2ID\xa4hm-1\xa2ID\xc0", ""},
		{"\x02\x82\xa2ID\xa4hm-1\xa4Size\x09", "hm-1"},
	} {
		asked := "nobody"
		m := requestScanner{allow: func(id string) error { asked = id; return wrong }}
		if err := m.feed([]byte(tt.sent)); !errors.Is(err, wrong) || asked != tt.id {
			t.Errorf("%q: the error is %v, about %q, want one about %q", tt.sent, err, asked, tt.id)
		}
	}
}

func FuzzRequestScanner(f *testing.F) {
	f.Add([]byte("\x00\x81\xa7Entries\x91\x81\xa4Data\xc4\x01x"), 3)
	f.Add([]byte("\x02\x82\xa4Size\x03\xa2ID\xa1aabc\x01\x81\xa4Term\x01"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts requestScanner
		cut = max(0, min(cut, len(b)))
		err := whole.feed(b)
		first := parts.feed(b[:cut])
		if first == nil {
			first = parts.feed(b[cut:])
		}
		if (err == nil) != (first == nil) || err == nil && (whole.requests != parts.requests || whole.at != parts.at || whole.size != parts.size) {
			t.Errorf("whole: %v, %d requests; cut at %d: %v, %d requests", err, whole.requests, cut, first, parts.requests)
		}
	})
}
