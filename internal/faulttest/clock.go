package faulttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// clockVariable names the file that has the seconds by which a process' wall clock is off.
const clockVariable = "HM_FAULT_CLOCK"

// Overlay writes, into dir, what `go build -overlay` needs to build a program with some of its files replaced, and gives
// the name of the file for that flag. replace has these files, each with the file to take instead.
//
// With clock the wall clock of the program can jump: time.Now adds the seconds that the file has whose name is in the
// environment variable HM_FAULT_CLOCK. So every library in the process sees the jump, and the monotonic clock does not,
// as when somebody sets the clock of a machine. goroot is where Go is installed.
func Overlay(dir, goroot string, clock bool, replace map[string]string) (string, error) {
	files := maps.Clone(replace)
	if files == nil {
		files = map[string]string{}
	}
	if clock {
		if err := replaceClock(dir, filepath.Join(goroot, "src", "time"), files); err != nil {
			return "", err
		}
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": files}, "", "  ")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, list, 0o600)
}

// replaceClock adds what makes the wall clock jump.
func replaceClock(dir, timeDir string, files map[string]string) error {
	timeGo := filepath.Join(timeDir, "time.go")
	text, err := os.ReadFile(timeGo)
	if err != nil {
		return err
	}
	const now, jumps = "\tsec, nsec, mono := runtimeNow()\n", "\tsec += clockJumpSeconds.Load()\n"
	if n := strings.Count(string(text), now); n != 1 {
		return fmt.Errorf("%s has %d lines that read the clock, want 1: this version of Go needs another overlay", timeGo, n)
	}
	jumping := strings.Replace(string(text), now, now+jumps, 1)
	for name, text := range map[string]string{"time.go": jumping, "clockjump.go": clockJump} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
		files[filepath.Join(timeDir, name)] = filepath.Join(dir, name)
	}
	return nil
}

// clockJump becomes a part of package time. A goroutine reads the file, since the runtime calls time.Now where nothing
// may block.
const clockJump = `package time

import (
	"sync/atomic"
	"syscall"
)

var clockJumpSeconds atomic.Int64

func init() {
	if name, ok := syscall.Getenv("` + clockVariable + `"); ok {
		go followClockJumps(name)
	}
}

func followClockJumps(name string) {
	for ; ; Sleep(20 * Millisecond) {
		if seconds, ok := readClockJump(name); ok {
			clockJumpSeconds.Store(seconds)
		}
	}
}

func readClockJump(name string) (seconds int64, ok bool) {
	fd, err := open(name)
	if err != nil {
		return 0, false
	}
	defer closefd(fd)
	var buf [32]byte
	n, err := read(fd, buf[:])
	if err != nil {
		return 0, false
	}
	sign := int64(1)
	for i, c := range buf[:max(n, 0)] {
		switch {
		case i == 0 && c == '-':
			sign = -1
		case c >= '0' && c <= '9':
			seconds = seconds*10 + int64(c-'0')
		}
	}
	return sign * seconds, true
}
`
