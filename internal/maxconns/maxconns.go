// Package maxconns bounds how many connections of a listener are open at a time.
package maxconns

import (
	"net"
	"sync"
)

// listener limits how many connections are open at a time. More connections wait in the kernel's queue.
type listener struct {
	net.Listener
	slots     chan struct{}
	done      chan struct{}
	closeOnce sync.Once
	idle      *Idle // makes room; nil: nothing does
}

// LimitIdle is like Limit, and an idle connection makes room for a new one.
func LimitIdle(l net.Listener, limit int, idle *Idle) net.Listener {
	limited := Limit(l, limit).(*listener)
	limited.idle = idle
	return limited
}

// Limit gives a listener that has at most limit connections open at a time. More connections wait to be accepted.
func Limit(l net.Listener, limit int) net.Listener {
	return &listener{Listener: l, slots: make(chan struct{}, limit), done: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	if !l.take() {
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &conn{Conn: c, release: func() { <-l.slots }}, nil
}

// take takes a place for a connection. It reports false when the listener is closed.
func (l *listener) take() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.done:
		return false
	default:
	}
	if l.idle != nil {
		l.idle.want(true)
		defer l.idle.want(false)
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.done:
		return false
	}
}

func (l *listener) Close() error {
	l.closeOnce.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type conn struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
