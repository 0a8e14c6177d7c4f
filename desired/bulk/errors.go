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

// Kind is the cause of a failed read. It is a label of metrics.
type Kind string

// The causes.
const (
	Credentials  Kind = "credentials"  // the Cloud Controller gave none
	Unauthorized Kind = "unauthorized" // 401
	Status       Kind = "status"       // another status than 200 or 401
	Redirect     Kind = "redirect"     // a redirect to another host
	Timeout      Kind = "timeout"
	Refused      Kind = "refused"   // nobody listens there, or the host cannot be reached
	TLS          Kind = "tls"       // the certificate is not trusted, or the server has no TLS
	Transport    Kind = "transport" // another failure of the connection
	Truncated    Kind = "truncated" // the answer ended early
	Malformed    Kind = "malformed" // not the JSON of the bulk API
	TooLarge     Kind = "too_large"
	Paging       Kind = "paging"       // the bulk tokens do not advance
	BadRows      Kind = "bad_rows"     // too many unreadable rows
	Inconsistent Kind = "inconsistent" // pages that contradict each other
	Canceled     Kind = "canceled"     // the caller's context ended
)

// Error is a failed read.
type Error struct {
	Kind Kind
	URL  string // what was read
	Page int    // from 1; 0: the error is not about a page
	Err  error
	Hint string // what to do about it; may be empty
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

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// classify converts an error of the HTTP client or the decoder to an Error. page is the context of the page, and phase
// says what the request was doing.
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
		return &Error{Kind: Canceled, Err: fmt.Errorf("canceled while %s: %w", phase, ctx.Err())}
	case errors.As(err, &redirect):
		return &Error{Kind: Redirect, Err: redirect,
			Hint: "hm does not send credentials to another host; if the Cloud Controller is there, set desired.bulk.url to it"}
	case page.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Kind: Timeout, Err: fmt.Errorf("timed out while %s", phase),
			Hint: "if the Cloud Controller is overloaded, a smaller desired.bulk.batch_size or a longer desired.bulk.timeout " +
				"may help"}
	case errors.As(err, &oversize), errors.Is(err, errTooManyApps):
		return &Error{Kind: TooLarge, Err: err}
	case errors.As(err, &unknownCA), errors.As(err, &wrongName), errors.As(err, &noTLS), errors.As(err, &alert),
		errors.Is(err, http.ErrSchemeMismatch):
		return &Error{Kind: TLS, Err: err,
			Hint: "check the scheme and host of desired.bulk.url, and that this machine trusts the authority of the certificate"}
	case errors.As(err, &dns):
		return &Error{Kind: Refused, Err: err, Hint: "check the host in desired.bulk.url"}
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &Error{Kind: Refused, Err: err,
			Hint: "check that the Cloud Controller is running and that desired.bulk.url is its address"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: Truncated, Err: fmt.Errorf("the answer ended early: %w", err), Hint: "the next poll reads again"}
	case errors.Is(err, errHTML):
		return &Error{Kind: Malformed, Err: err,
			Hint: "probably a router or a login page answers instead of the Cloud Controller; check desired.bulk.url"}
	case errors.Is(err, errNoResults), errors.As(err, &syntax), errors.Is(err, errNoGUID):
		return &Error{Kind: Malformed, Err: err, Hint: "check that desired.bulk.url names a Cloud Controller"}
	}
	return &Error{Kind: Transport, Err: fmt.Errorf("%s: %w", phase, err)}
}
