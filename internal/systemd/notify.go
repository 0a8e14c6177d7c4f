// Package systemd tells systemd, or whoever else starts hm so, that a node serves, that its loops go on, and what it
// does. It knows nothing of hm and speaks the protocol of sd_notify(3). Where no NOTIFY_SOCKET is set it does nothing.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// sendTimeout bounds one message: systemd may be too busy to take it, and a node must not wait for that.
const sendTimeout = time.Second

// maxStatus bounds the status line, in bytes.
const maxStatus = 400

// Notifier sends messages to systemd. A nil Notifier sends none.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// FromEnvironment gives the Notifier that the environment asks for: nil if this process was not started by systemd with
// Type=notify.
func FromEnvironment() (*Notifier, error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil, nil
	}
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q is neither a path nor the name of an abstract socket", socket)
	}
	n := &Notifier{socket: socket}
	usec := os.Getenv("WATCHDOG_USEC")
	if usec == "" {
		return n, nil
	}
	v, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || v <= 0 || v > int64(24*time.Hour/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC %q is not a number of microseconds up to a day", usec)
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) { // else it is meant for a parent
		n.watchdog = time.Duration(v) * time.Microsecond
	}
	return n, nil
}

// Watchdog is after how long a silence systemd ends the process; 0: never.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the process serves, after its start or after a reload.
func (n *Notifier) Ready() error { return n.send("READY=1") }

// Reloading says that the process reads its files anew. Ready must follow.
func (n *Notifier) Reloading() error { return n.send("RELOADING=1") }

// Stopping says that the process is going down.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Alive says that the process goes on.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Status gives systemctl status a line to show.
func (n *Notifier) Status(line string) error {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line)
	return n.send("STATUS=" + strings.ToValidUTF8(line[:min(len(line), maxStatus)], ""))
}

func (n *Notifier) send(message string) error {
	if n == nil {
		return nil
	}
	conn, err := net.DialTimeout("unixgram", n.socket, sendTimeout)
	if err == nil {
		defer conn.Close()
		if err = conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err == nil {
			_, err = conn.Write([]byte(message))
		}
	}
	if err != nil {
		return fmt.Errorf("telling systemd %.20q: %w", message, err)
	}
	return nil
}
