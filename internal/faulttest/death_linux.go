package faulttest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill a program when the bench is killed. More exactly: when the thread that started the
// program ends, but Go ends a thread early only for a goroutine that is locked to it, and the bench locks none.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
