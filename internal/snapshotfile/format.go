// Package snapshotfile has the file that hm snapshot save writes: a snapshot of the recorded state, with a header that
// says where it comes from, and a checksum over every byte.
//
// Numbers are little-endian:
//
//	magic          8 bytes: "hmsave\r\n"
//	format         4
//	header length  4, at most 4 KiB
//	header         JSON (Header)
//	chunks         any number: 4 bytes length, 1 to 1 MiB; content
//	end            4 bytes: 0
//	footer         8: bytes of all chunks; 16: XXH3-128 of everything before it
//
// The content of the chunks is a snapshot as package raftfsm writes it, which is compressed and has the hash of the
// state. Nothing follows the footer.
package snapshotfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"hm/internal/app"
	"hm/raftfsm"
)

// Format is the format that this version writes, and the only one that it reads.
const Format = 1

const (
	magic     = "hmsave\r\n" // shows at once that a transfer has changed line ends
	maxHeader = 4 << 10
	maxChunk  = 1 << 20
	chunkSize = 256 << 10
	footerLen = 8 + 16
)

// ErrFile is wrapped by every error about the content of a file. Errors of the reader do not wrap it.
var ErrFile = errors.New("invalid snapshot file")

// Header says what a file has and where it comes from.
type Header struct {
	Cluster string    `json:"cluster,omitempty"` // id of the cluster; empty: it had none
	Index   uint64    `json:"index"`             // of the newest entry in the snapshot
	Term    uint64    `json:"term"`              // of this entry
	Time    app.Time  `json:"time"`              // hm time of this entry, in milliseconds since 1970
	Hash    string    `json:"state_hash"`        // of the whole state
	Version string    `json:"hm_version"`        // of the program that wrote the file
	Node    string    `json:"node"`              // that wrote it
	SavedAt time.Time `json:"saved_at"`          // by that node's wall clock
}

// Write writes a file with a state, which must not change meanwhile: freeze it first. It fills in what the header says of
// the state.
func Write(w io.Writer, state *raftfsm.State, h Header) error {
	h.Cluster, h.Index, h.Term, h.Time, h.Hash = state.ClusterID().String(), state.Index(), state.Term(), state.Time(), state.Hash().String()
	head, err := json.Marshal(h)
	if err != nil || len(head) > maxHeader {
		return fmt.Errorf("encoding the header of a snapshot file of %d bytes: %w", len(head), err)
	}
	out := &chunks{w: w, sum: xxh3.New(), buf: make([]byte, 0, chunkSize)}
	start := append([]byte(magic), Format, 0, 0, 0)
	start = binary.LittleEndian.AppendUint32(start, uint32(len(head)))
	if err := out.raw(append(start, head...)); err != nil {
		return err
	}
	if err := state.WriteSnapshot(out); err != nil {
		return err
	}
	return out.end()
}

// chunks writes what follows the header.
type chunks struct {
	w     io.Writer
	sum   *xxh3.Hasher
	buf   []byte
	total uint64
}

// Write adds content.
func (c *chunks) Write(b []byte) (n int, err error) {
	for n = len(b); len(b) > 0; {
		room := min(cap(c.buf)-len(c.buf), len(b))
		c.buf, b = append(c.buf, b[:room]...), b[room:]
		if len(c.buf) == cap(c.buf) {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (c *chunks) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	c.total += uint64(len(c.buf))
	if err := c.raw(binary.LittleEndian.AppendUint32(nil, uint32(len(c.buf)))); err != nil {
		return err
	}
	err := c.raw(c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *chunks) raw(b []byte) error {
	_, _ = c.sum.Write(b) // a hash never fails
	_, err := c.w.Write(b)
	return err
}

func (c *chunks) end() error {
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.raw(binary.LittleEndian.AppendUint64(make([]byte, 4, 12), c.total)); err != nil {
		return err
	}
	sum := c.sum.Sum128().Bytes()
	_, err := c.w.Write(sum[:])
	return err
}

// Read reads and checks a whole file: its frame, its checksum, the snapshot in it, and that the header is that of the
// state. It builds the state. Whatever r contains, it takes little more memory than the state.
func Read(r io.Reader) (*raftfsm.State, Header, error) {
	in, h, err := open(r)
	if err != nil {
		return nil, h, err
	}
	state, err := raftfsm.RestoreState(in)
	if err != nil {
		if in.err != nil && !errors.Is(in.err, io.EOF) { // that of the file says more than what the snapshot makes of it
			err = in.err
		} else if errors.Is(err, raftfsm.ErrSnapshot) {
			err = fmt.Errorf("%w: %w", ErrFile, err)
		}
		return nil, h, fmt.Errorf("reading the snapshot: %w", err)
	}
	if err := in.finish(); err != nil {
		return nil, h, err
	}
	want := h
	want.Cluster, want.Index, want.Term, want.Time, want.Hash = state.ClusterID().String(), state.Index(), state.Term(), state.Time(), state.Hash().String()
	if h != want {
		return nil, h, fmt.Errorf("%w: its header says %+v, and its state is %+v", ErrFile, h, want)
	}
	return state, h, nil
}

// Check reads a whole file and checks its frame and its checksum, without building the state.
func Check(r io.Reader) (Header, error) {
	in, h, err := open(r)
	if err != nil {
		return h, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return h, err
	}
	return h, in.finish()
}

// open reads the beginning of a file.
func open(r io.Reader) (*content, Header, error) {
	in := &content{r: r, sum: xxh3.New()}
	var h Header
	var start [len(magic) + 8]byte
	if err := in.raw(start[:]); err != nil {
		return nil, h, fmt.Errorf("reading the header of a snapshot file: %w", err)
	}
	if string(start[:len(magic)]) != magic {
		return nil, h, fmt.Errorf("%w: it does not begin like a file of hm snapshot save, or a transfer has changed its line ends", ErrFile)
	}
	if format := binary.LittleEndian.Uint32(start[len(magic):]); format != Format {
		return nil, h, fmt.Errorf("%w: it has format %d, this version of hm reads %d: use the version that wrote it, or a newer one", ErrFile, format, Format)
	}
	size := binary.LittleEndian.Uint32(start[len(magic)+4:])
	if size > maxHeader {
		return nil, h, fmt.Errorf("%w: its header has %d bytes, at most %d are allowed", ErrFile, size, maxHeader)
	}
	head := make([]byte, size)
	if err := in.raw(head); err != nil {
		return nil, h, fmt.Errorf("reading the header of a snapshot file: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return nil, h, fmt.Errorf("%w: its header: %w", ErrFile, err)
	}
	if dec.More() {
		return nil, h, fmt.Errorf("%w: something follows its header", ErrFile)
	}
	return in, h, nil
}

// content reads the chunks of a file. It ends at the footer, after that was checked.
type content struct {
	r     io.Reader
	sum   *xxh3.Hasher
	left  int // of the present chunk
	total uint64
	err   error // of the file; io.EOF after a correct footer
}

// Read reads content.
func (c *content) Read(b []byte) (int, error) {
	if c.left == 0 && c.err == nil {
		c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.r.Read(b[:min(len(b), c.left)])
	_, _ = c.sum.Write(b[:n])
	c.left -= n
	c.total += uint64(n)
	if err != nil && (!errors.Is(err, io.EOF) || n == 0) {
		c.err = endsEarly(err)
		return n, c.err
	}
	return n, nil
}

// next begins the next chunk, or checks the footer.
func (c *content) next() {
	var size [4]byte
	if c.err = c.raw(size[:]); c.err != nil {
		return
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxChunk {
		c.err = fmt.Errorf("%w: a chunk of %d bytes, at most %d are allowed", ErrFile, n, maxChunk)
		return
	}
	if c.left = int(n); n == 0 {
		c.err = c.footer()
	}
}

func (c *content) footer() error {
	var b [footerLen]byte
	if err := c.raw(b[:8]); err != nil {
		return err
	}
	sum := c.sum.Sum128().Bytes()
	if err := c.raw(b[8:]); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(b[:8]); n != c.total || sum != [16]byte(b[8:]) {
		return fmt.Errorf("%w: its checksum is wrong: it is damaged", ErrFile)
	}
	switch n, err := io.ReadFull(c.r, b[:1]); {
	case n > 0:
		return fmt.Errorf("%w: something follows its end", ErrFile)
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}

// finish reads the rest of the file. It fails unless the file ends as it should, with nothing left of its content.
func (c *content) finish() error {
	for c.err == nil && c.left == 0 {
		c.next()
	}
	switch {
	case c.err == nil:
		return fmt.Errorf("%w: something follows the snapshot in it", ErrFile)
	case !errors.Is(c.err, io.EOF):
		return c.err
	}
	return nil
}

// raw reads all of b.
func (c *content) raw(b []byte) error {
	if _, err := io.ReadFull(c.r, b); err != nil {
		return endsEarly(err)
	}
	_, _ = c.sum.Write(b)
	return nil
}

func endsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrFile)
	}
	return err
}
