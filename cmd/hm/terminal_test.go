//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal gives the two ends of a pseudo-terminal. Without one the test is skipped, or fails if HM_TEST_REQUIRE=all
// in the environment asks for everything.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, program, err := pseudoTerminal()
	switch {
	case err == nil:
	case os.Getenv("HM_TEST_REQUIRE") == "all":
		t.Fatalf("no pseudo-terminal, and HM_TEST_REQUIRE=all asks for one: mount devpts at /dev/pts: %v", err)
	default:
		t.Skipf("no pseudo-terminal: %v", err)
	}
	return screen, program
}

func pseudoTerminal() (screen, program *os.File, err error) {
	screen, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		screen, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR, 0) // what the former usually leads to
	}
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		screen.Close()
		return nil, nil, err
	}
	return screen, program, nil
}
