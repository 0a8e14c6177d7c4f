package faulttest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started, killed and started again. It must not be used by two goroutines at once.
type process struct {
	name    string
	program string
	args    []string
	env     []string
	log     string // file
	// ended is called, from a goroutine of its own, if it ends without being told to.
	ended func(how string)

	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	frozen  bool
	mu      sync.Mutex
	willEnd bool // it was told to
}

func newProcess(dir, name, program string, args ...string) *process {
	return &process{name: name, program: program, args: args, log: filepath.Join(dir, name+".log"), ended: func(string) {}}
}

// start starts the program. Its output is appended to its log.
func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.cmd, p.done, p.frozen = cmd, make(chan struct{}), false
	p.mu.Lock()
	p.willEnd = false
	p.mu.Unlock()
	done := p.done
	go func() {
		defer close(done)
		err := cmd.Wait()
		p.mu.Lock()
		told := p.willEnd
		p.mu.Unlock()
		if !told {
			p.ended(fmt.Sprintf("%v; its last words: %s", err, p.lastWords()))
		}
	}()
	return nil
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end sends a signal that ends the process, and waits until it has ended.
func (p *process) end(s syscall.Signal) {
	if !p.running() {
		return
	}
	p.mu.Lock()
	p.willEnd = true
	p.mu.Unlock()
	if p.frozen && s != syscall.SIGKILL {
		p.thaw()
	}
	_ = p.cmd.Process.Signal(s)
	late := time.NewTimer(endPatience)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		p.ended(fmt.Sprintf("it did not end within %v after %v", endPatience, s))
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// endPatience is how long a process may take to end. Only a process that hangs takes as long.
const endPatience = 20 * time.Second

func (p *process) freeze() {
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGSTOP)
		p.frozen = true
	}
}

func (p *process) thaw() {
	if p.running() && p.frozen {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	p.frozen = false
}

// lastWords gives the line of the log that says why the process ended, shortened: that of a panic or a data race, or
// the last one.
func (p *process) lastWords() string {
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	last := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(text, "panic:") || strings.HasPrefix(text, "fatal error:") || strings.Contains(text, "DATA RACE") {
			last = text
			break
		}
		if text != "" {
			last = text
		}
	}
	return last[:min(len(last), 400)]
}
