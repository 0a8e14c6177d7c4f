// Package dbtest starts real database servers for tests: PostgreSQL and MariaDB from Debian's packages. A server runs
// as an unprivileged user on a free loopback port, with its data in a temporary directory. It ends with the test
// binary.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// TB has the methods of testing.TB that this package uses.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Missing skips a test because a program is missing, and names the Debian package that contains it. With
// HM_TEST_REQUIRE=all in the environment it fails the test instead.
func Missing(t TB, program, debianPackage string) {
	t.Helper()
	if os.Getenv("HM_TEST_REQUIRE") == "all" {
		t.Fatalf("%s is missing, and HM_TEST_REQUIRE=all requires it: install Debian's package %s", program, debianPackage)
	}
	t.Skipf("%s is missing: install Debian's package %s", program, debianPackage)
}

// Options of a server.
type Options struct {
	TLSCert, TLSKey string // PEM files; empty: without TLS
	RequireTLS      bool   // accept only TLS over TCP
	Replicates      bool   // the server can have replicas
	ReplicaOf       *Server
	SmallCache      bool // the server has the cache of its default configuration, 128 MiB, as a measurement should
}

// Server is one database server. Its methods must not be called concurrently.
type Server struct {
	Driver string // postgres or mysql
	Addr   string // 127.0.0.1:port

	dir     string
	options Options
	kind    *kind
	process *exec.Cmd
	exited  chan struct{}
	log     *os.File
}

// kind has the differences between PostgreSQL and MariaDB.
type kind struct {
	driver, program, debian string
	find                    func() string // path of program, or empty
	prepare                 func(s *Server, program string) error
	command                 func(s *Server, program string) *exec.Cmd
	connect                 func(ctx context.Context, s *Server, database string) (session, error) // as administrator
	follow                  func(s *Server) error                                                  // starts the replication of a replica; nil: prepare did it
	dsn                     func(s *Server, user, password, database string) string
}

// session is a connection. row may be nil.
type session interface {
	run(ctx context.Context, statement string, row func(values []string)) error
	close()
}

var kinds = map[string]*kind{"postgres": &postgres, "mysql": &mariadb}

// Start starts a server for one test. It ends with the test.
func Start(t TB, driver string, o Options) *Server {
	t.Helper()
	s, err := open(t, driver, o)
	if err != nil {
		t.Fatalf("start %s: %v", driver, err)
	}
	t.Cleanup(s.remove)
	return s
}

var (
	sharedLock sync.Mutex
	shared     = map[string]*Server{}
)

// Shared returns the server that the tests of a package share. The first call starts it. A test that stops it must
// start it again. The package's TestMain must call CloseShared.
func Shared(t TB, driver string) *Server {
	t.Helper()
	sharedLock.Lock()
	defer sharedLock.Unlock()
	if shared[driver] == nil {
		s, err := open(t, driver, Options{})
		if err != nil {
			t.Fatalf("start %s: %v", driver, err)
		}
		shared[driver] = s
	}
	return shared[driver]
}

// CloseShared ends the shared servers.
func CloseShared() {
	sharedLock.Lock()
	defer sharedLock.Unlock()
	for driver, s := range shared {
		s.remove()
		delete(shared, driver)
	}
}

func open(t TB, driver string, o Options) (*Server, error) {
	t.Helper()
	k := kinds[driver]
	if k == nil {
		return nil, fmt.Errorf("there is no server of driver %q", driver)
	}
	program := k.find()
	if program == "" {
		Missing(t, k.program, k.debian)
	}
	dir, err := os.MkdirTemp("", "hm-"+driver+"-") // not t.TempDir: its path may be too long for a socket
	if err != nil {
		return nil, err
	}
	s := &Server{Driver: driver, dir: dir, options: o, kind: k}
	err = s.own(dir)
	if err == nil {
		err = k.prepare(s, program)
	}
	if err == nil {
		s.Addr, err = freeAddr()
	}
	if err == nil {
		err = s.Start()
	}
	if err == nil && o.ReplicaOf != nil && k.follow != nil {
		err = k.follow(s)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// startTime is how long a server may take to start or to end.
const startTime = 60 * time.Second

// Start starts the server after Stop or Kill, with its data, at the same address, and waits until it answers.
func (s *Server) Start() error {
	var err error
	if s.log == nil {
		if s.log, err = os.Create(filepath.Join(s.dir, "log")); err != nil {
			return err
		}
	}
	s.process = s.unprivileged(s.kind.command(s, s.kind.find()))
	s.process.Stdout, s.process.Stderr = s.log, s.log
	s.process.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	s.exited = make(chan struct{})
	go func(exited chan struct{}) {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the process ends
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := s.process.Start()
		started <- err
		if err == nil {
			_ = s.process.Wait()
		}
	}(s.exited)
	if err := <-started; err != nil {
		return err
	}
	deadline := time.Now().Add(startTime)
	for {
		err := s.exec("", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended: %s", s.tail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w: %s", err, s.tail())
		}
	}
}

func (s *Server) tail() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text[max(0, len(text)-2000):])
}

// Stop shuts the server down and closes all connections.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Kill ends the server and all of its processes at once with SIGKILL.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	pid := s.process.Process.Pid
	family := []int{pid}
	if sig == syscall.SIGKILL {
		family = append(family, children(pid)...)
	} else if s.Driver == "mysql" {
		sig = syscall.SIGTERM
	}
	for _, p := range family {
		_ = syscall.Kill(p, sig) // one may have ended by itself
	}
	deadline := time.After(startTime)
	select {
	case <-s.exited:
	case <-deadline:
		return errors.New("the server does not end")
	}
	for _, p := range family[1:] {
		for syscall.Kill(p, 0) == nil && !zombie(p) {
			select {
			case <-deadline:
				return errors.New("a process of the server does not end")
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}

// children returns the processes that a process has started.
func children(pid int) []int {
	var list []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		state := processState(file)
		if len(state) > 1 && state[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

func zombie(pid int) bool {
	state := processState(fmt.Sprintf("/proc/%d/stat", pid))
	return len(state) == 0 || state[0] == "Z"
}

// processState returns the fields of a stat file from the state on; the next one is the parent.
func processState(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

func (s *Server) remove() {
	if s.process != nil && s.process.Process != nil {
		_ = s.Kill()
	}
	if s.log != nil {
		_ = s.log.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// nobody returns the user for a server if root runs the test: the servers refuse to run as root.
func nobody() (uid, gid int, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, false
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, true
}

// own makes the server's user the owner of a file.
func (s *Server) own(file string) error {
	if uid, gid, ok := nobody(); ok {
		return os.Chown(file, uid, gid)
	}
	return nil
}

func (s *Server) unprivileged(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if uid, gid, ok := nobody(); ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}

// run runs a program to its end, as the server's user.
func (s *Server) run(cmd *exec.Cmd) error {
	if out, err := s.unprivileged(cmd).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.2000s", cmd.Path, err, out)
	}
	return nil
}

// private copies a file to a place that only the server may read.
func (s *Server) private(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	to := filepath.Join(s.dir, filepath.Base(file))
	if err := os.WriteFile(to, text, 0o600); err != nil {
		return "", err
	}
	return to, s.own(to)
}

// DSN returns the data source name of a user over TCP.
func (s *Server) DSN(user, password, database string) string {
	return s.kind.dsn(s, user, password, database)
}

// Exec runs statements as the server's administrator; database may be empty.
func (s *Server) Exec(t TB, database string, statements ...string) {
	t.Helper()
	if err := s.exec(database, statements...); err != nil {
		t.Fatalf("%s: %v", s.Driver, err)
	}
}

func (s *Server) exec(database string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	c, err := s.kind.connect(ctx, s, database)
	if err != nil {
		return err
	}
	defer c.close()
	for _, statement := range statements {
		if err := c.run(ctx, statement, nil); err != nil {
			return fmt.Errorf("%.200s: %w", statement, err)
		}
	}
	return nil
}

// statementTime is how long the statements of one call may take.
const statementTime = 3 * time.Minute

// Connect opens a connection as the server's administrator, which stays open until the test ends. It returns a function
// that runs a statement on it.
func (s *Server) Connect(t TB, database string) func(statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	c, err := s.kind.connect(ctx, s, database)
	if err != nil {
		cancel()
		t.Fatalf("%s: %v", s.Driver, err)
	}
	t.Cleanup(func() { c.close(); cancel() })
	return func(statement string) {
		t.Helper()
		if err := c.run(ctx, statement, nil); err != nil {
			t.Fatalf("%s: %.200s: %v", s.Driver, statement, err)
		}
	}
}

// Query runs a statement as the server's administrator and returns the values of its last row.
func (s *Server) Query(database, statement string) (values []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), statementTime)
	defer cancel()
	c, err := s.kind.connect(ctx, s, database)
	if err != nil {
		return nil, err
	}
	defer c.close()
	err = c.run(ctx, statement, func(row []string) { values = row })
	return values, err
}

var databases struct {
	sync.Mutex
	n int
}

// CreateDatabase makes an empty database with a unique name. It is dropped when the test ends.
func (s *Server) CreateDatabase(t TB) string {
	t.Helper()
	databases.Lock()
	databases.n++
	name := fmt.Sprintf("ccdb%d", databases.n)
	databases.Unlock()
	s.Exec(t, "", "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if err := s.exec("", "DROP DATABASE "+name); err != nil {
			t.Logf("drop %s: %v", name, err)
		}
	})
	return name
}
