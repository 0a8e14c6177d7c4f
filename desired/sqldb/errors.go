package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// Kind is the cause of a failed read, in a word that metrics can carry.
type Kind string

// The causes.
const (
	Unauthorized Kind = "unauthorized" // the server does not know the role, or the password is wrong
	Permission   Kind = "permission"   // the role may not read a table or column
	Schema       Kind = "schema"       // tables or columns are missing, or there are too many
	Timeout      Kind = "timeout"
	Locked       Kind = "locked"    // somebody else has locked a table
	Conflict     Kind = "conflict"  // the server gave the snapshot up: replication, or a changed table
	Refused      Kind = "refused"   // nobody listens, no way there, or the server takes no one in now
	TLS          Kind = "tls"       // no trust, or one side wants it and the other does not
	Transport    Kind = "transport" // the connection was lost
	Server       Kind = "server"    // anything else that the server says
	TooLarge     Kind = "too_large"
	BadRows      Kind = "bad_rows"     // too many rows that cannot be understood
	Inconsistent Kind = "inconsistent" // the snapshot was none
	Stale        Kind = "stale"        // older than what was read before from another server, or nobody knows how old
	Canceled     Kind = "canceled"     // the caller's context ended
)

// Error is a failed read.
type Error struct {
	Kind   Kind
	From   string // which server
	Page   int    // 1 is the first; 0: not about a page
	Err    error
	Hint   string   // what to do about it, or empty
	Others []*Error // of the servers that were tried after this one
}

// Error says what failed, on what, and what to do. It has no secrets.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString("read desired state from " + e.From)
	if e.Page > 0 {
		fmt.Fprintf(&text, ", page %d", e.Page)
	}
	text.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		text.WriteString(": " + e.Hint)
	}
	for _, o := range e.Others {
		text.WriteString("; then " + o.Error())
	}
	return text.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// elsewhere reports whether another server may do better.
func (e *Error) elsewhere() bool {
	switch e.Kind {
	case Canceled, BadRows, TooLarge:
		return false
	}
	return true
}

const (
	hintTimeout = "is the database overloaded, or out of reach?"
	hintLocked  = "somebody else has locked the table, as a migration does; the next read tries again"
	hintAuth    = "check user and password of desired.sql.dsn, and that the server lets the role in from here, with TLS or without; docs/ccdb.md has the SQL that creates it"
	hintGrant   = "grant the role SELECT on the tables that docs/ccdb.md lists"
	hintTLS     = "check the TLS settings of desired.sql.dsn, and that its authority is the one that signed the server's certificate; docs/ccdb.md has examples"
	hintSchema  = "does the DSN name the Cloud Controller's database?"
	hintLost    = "nothing of the read is kept; the next one connects anew"
)

// classifyCommon turns an error that is not a server's own word into an Error. ctx is that of the read.
func classifyCommon(ctx context.Context, err error) *Error {
	var (
		own     *Error
		trust   *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		noTLS   tls.RecordHeaderError
		alert   tls.AlertError
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &trust), errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &noTLS), errors.As(err, &alert):
		return &Error{Kind: TLS, Err: err, Hint: hintTLS}
	case errors.As(err, &dns):
		return &Error{Kind: Refused, Err: err, Hint: "does desired.sql.dsn name the right host?"}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENOENT):
		return &Error{Kind: Refused, Err: err, Hint: "is the database running where desired.sql.dsn says?"}
	case errors.Is(err, context.Canceled) && ctx.Err() == context.Canceled:
		return &Error{Kind: Canceled, Err: err}
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("the time is over: %w", err), Hint: hintTimeout}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Kind: Transport, Err: fmt.Errorf("the connection was lost: %w", err), Hint: hintLost}
	}
	return &Error{Kind: Server, Err: err}
}
