package ptytest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Open returns the two ends of a pseudo-terminal of the given size: the screen for the test, and the program's end.
// The caller closes both. Without a pseudo-terminal the test is skipped, or fails if HM_TEST_REQUIRE=all is set.
func Open(t *testing.T, columns, rows uint16) (screen, program *os.File) {
	t.Helper()
	screen, program, err := open(columns, rows)
	switch {
	case err == nil:
	case os.Getenv("HM_TEST_REQUIRE") == "all":
		t.Fatalf("no pseudo-terminal, and HM_TEST_REQUIRE=all asks for one: mount devpts at /dev/pts: %v", err)
	default:
		t.Skipf("no pseudo-terminal: %v", err)
	}
	return screen, program
}

// Resize changes the size of a pseudo-terminal, and tells this process.
func Resize(t *testing.T, screen *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
}

// Output returns what do prints to the program's end of a pseudo-terminal of 80 columns.
func Output(t *testing.T, do func(program *os.File)) string {
	t.Helper()
	screen, program := Open(t, 80, 24)
	defer screen.Close()
	printed := make(chan string)
	go func() {
		raw, _ := io.ReadAll(screen) // ends with EIO when the program's end is closed
		printed <- string(raw)
	}()
	do(program)
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	return <-printed
}

func open(columns, rows uint16) (screen, program *os.File, err error) {
	screen, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		screen, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR, 0) // what /dev/ptmx usually links to
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
	if err == nil {
		err = unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err != nil {
		if program != nil {
			program.Close()
		}
		screen.Close()
		return nil, nil, err
	}
	return screen, program, nil
}
