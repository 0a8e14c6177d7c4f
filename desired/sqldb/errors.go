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

// Kind is the cause of a failed read. It is a label of metrics.
type Kind string

// The causes.
const (
	Unauthorized Kind = "unauthorized" // the role is unknown, or the password is wrong
	Permission   Kind = "permission"   // the role may not read a table or column
	Schema       Kind = "schema"       // tables or columns are missing, or those of both generations are there
	Timeout      Kind = "timeout"
	Locked       Kind = "locked"    // another session has locked a table
	Conflict     Kind = "conflict"  // the server ended the snapshot because of replication or a changed table
	Refused      Kind = "refused"   // nobody listens, the host cannot be reached, or the server is full
	TLS          Kind = "tls"       // the certificate is not trusted, or only one side wants TLS
	Transport    Kind = "transport" // the connection was lost
	Server       Kind = "server"    // another error of the server
	TooLarge     Kind = "too_large"
	BadRows      Kind = "bad_rows"     // too many unreadable rows
	Inconsistent Kind = "inconsistent" // the read was not one snapshot
	Stale        Kind = "stale"        // older than the newest read from another server, or its age is unknown
	Canceled     Kind = "canceled"     // the caller's context ended
)

// Error is a failed read.
type Error struct {
	Kind   Kind
	From   string // the server
	Page   int    // from 1; 0: the error is not about a page
	Err    error
	Hint   string   // what to do about it; may be empty
	Others []*Error // errors of the servers that were tried after this one
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

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// tryNext reports whether a read from another server may succeed.
func (e *Error) tryNext() bool {
	switch e.Kind {
	case Canceled, BadRows, TooLarge:
		return false
	}
	return true
}

const (
	hintTimeout = "check whether the database is overloaded and can be reached; the next poll reads again"
	hintLocked  = "another session has locked the table, such as a migration; the next poll reads again"
	hintAuth    = "check the user and password in desired.sql.dsn, and that the server accepts the role from this host, " +
		"with or without TLS; docs/ccdb.md has the SQL that creates the role"
	hintGrant = "grant the role SELECT on the tables that docs/ccdb.md lists"
	hintTLS   = "check the TLS settings in desired.sql.dsn, and that its authority signed the server's certificate; " +
		"docs/ccdb.md has examples"
	hintSchema = "check that desired.sql.dsn names the Cloud Controller's database"
	hintTable  = "check that desired.sql.dsn names the Cloud Controller's database: this does not look like its table"
	hintLost   = "nothing was recorded; the next poll connects again"
	hintProxy  = "check whether a proxy between hm and the database sends statements to different servers"
	hintFull   = "the server accepts no more connections now; the next poll tries again"
)

// classifyCommon converts an error that is not the server's answer to an Error. ctx is the context of the read.
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
	case errors.As(err, &trust), errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid),
		errors.As(err, &noTLS), errors.As(err, &alert):
		return &Error{Kind: TLS, Err: err, Hint: hintTLS}
	case errors.As(err, &dns):
		return &Error{Kind: Refused, Err: err, Hint: "check the host in desired.sql.dsn"}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENOENT):
		return &Error{Kind: Refused, Err: err,
			Hint: "check that the database is running and that desired.sql.dsn has its address"}
	case errors.Is(err, context.Canceled) && ctx.Err() == context.Canceled:
		return &Error{Kind: Canceled, Err: err}
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("timed out: %w", err), Hint: hintTimeout}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Kind: Transport, Err: fmt.Errorf("the connection was lost: %w", err), Hint: hintLost}
	}
	return &Error{Kind: Server, Err: err}
}
