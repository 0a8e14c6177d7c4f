package bulk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Kind is the cause of a failed read, in a word that metrics can carry.
type Kind string

// The causes.
const (
	Credentials  Kind = "credentials"  // none could be had
	Unauthorized Kind = "unauthorized" // 401
	Status       Kind = "status"       // any other status than 200
	Redirect     Kind = "redirect"     // to another host
	Timeout      Kind = "timeout"
	Refused      Kind = "refused"   // nobody listens, or no way there
	TLS          Kind = "tls"       // no trust, or no TLS at all
	Transport    Kind = "transport" // anything else on the connection
	Truncated    Kind = "truncated" // the answer ended early
	Malformed    Kind = "malformed" // not the JSON that the bulk API answers with
	TooLarge     Kind = "too_large"
	Paging       Kind = "paging"       // tokens that lead nowhere
	BadRows      Kind = "bad_rows"     // too many rows that cannot be understood
	Inconsistent Kind = "inconsistent" // pages that contradict each other
	Canceled     Kind = "canceled"     // the caller's context ended
)

// Error is a failed read.
type Error struct {
	Kind Kind
	URL  string // what was read
	Page int    // 1 is the first; 0: not about a page
	Err  error
	Hint string // what to do about it, or empty
}

// Error says what failed, on what, and what to do. It has no secrets.
func (e *Error) Error() string {
	text := "read desired state from " + e.URL
	if e.Page > 0 {
		text += fmt.Sprintf(", page %d", e.Page)
	}
	text += ": " + e.Err.Error()
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// classify turns what the HTTP client or the decoder returned into an Error. page is the page's own context, phase
// how far its request had come.
func classify(ctx, page context.Context, err error, phase string) *Error {
	var (
		redirect  *redirectError
		timeout   net.Error
		unknownCA *tls.CertificateVerificationError
		wrongName x509.HostnameError
		noTLS     tls.RecordHeaderError
		alert     tls.AlertError
		syntax    *syntaxError
		oversize  *sizeError
		dns       *net.DNSError
	)
	switch {
	case ctx.Err() != nil:
		return &Error{Kind: Canceled, Err: fmt.Errorf("given up while %s: %w", phase, ctx.Err())}
	case errors.As(err, &redirect):
		return &Error{Kind: Redirect, Err: redirect, Hint: "credentials are not sent to another host; if that is where the Cloud Controller is, name it in desired.bulk.url"}
	case page.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("the time is over while %s", phase), Hint: "is the Cloud Controller overloaded? A smaller desired.bulk.batch_size or a longer desired.bulk.timeout may help"}
	case errors.As(err, &oversize), errors.Is(err, errTooManyApps):
		return &Error{Kind: TooLarge, Err: err}
	case errors.As(err, &unknownCA), errors.As(err, &wrongName), errors.As(err, &noTLS), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return &Error{Kind: TLS, Err: err, Hint: "check the scheme and host of desired.bulk.url, and that the system trusts the certificate's authority"}
	case errors.As(err, &dns):
		return &Error{Kind: Refused, Err: err, Hint: "does desired.bulk.url name the right host?"}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &Error{Kind: Refused, Err: err, Hint: "is the Cloud Controller running where desired.bulk.url says?"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: Truncated, Err: fmt.Errorf("the answer ended early: %w", err)}
	case errors.Is(err, errHTML):
		return &Error{Kind: Malformed, Err: err, Hint: "a router or a login page seems to answer instead of the Cloud Controller; check desired.bulk.url"}
	case errors.Is(err, errNoResults), errors.As(err, &syntax), errors.Is(err, errNoGUID):
		return &Error{Kind: Malformed, Err: err, Hint: "does desired.bulk.url name a Cloud Controller?"}
	}
	return &Error{Kind: Transport, Err: fmt.Errorf("%s: %w", phase, err)}
}
