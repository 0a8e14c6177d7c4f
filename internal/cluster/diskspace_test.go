package cluster

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

func TestIsFull(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errFull, true},
		{&fs.PathError{Op: "write", Err: syscall.EDQUOT}, true},
		{&fs.PathError{Op: "write", Err: syscall.EIO}, false},
		{syscall.ENOSPC, false}, // a failed sync
		{errors.New("file resize error: truncate raft.db: no space left on device"), true},
		{errors.New("file sync error: sync raft.db: disk quota exceeded"), true},
		{errors.New("file resize error: truncate raft.db: input/output error"), false},
		{errors.New("no space left on device"), false},
	} {
		if got := isFull(tt.err); got != tt.want {
			t.Errorf("isFull(%v) = %v", tt.err, got)
		}
	}
}
