package main

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

func (e *hintedError) Hint() string { return e.hint }

// withHint adds what the user can do about an error. run prints it on its own line.
func withHint(err error, hint string) error { return &hintedError{err, hint} }

// hintOf returns what the user can do about an error of a command. Every error has a hint: its own, or one for its kind.
func hintOf(cmd *cobra.Command, err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		return hinted.Hint()
	}
	var p *api.Problem
	if errors.As(err, &p) {
		if hint := statusHint(p.Status); hint != "" {
			return hint
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "the disk is full"):
		return "make room on the file system, then try again"
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return "check that the path exists, and that this user may use it"
	}
	return "see " + cmd.CommandPath() + " --help"
}

// statusHint returns what to do about an answer with a status, if the node does not say so itself.
func statusHint(status int) string {
	switch status {
	case http.StatusNotFound:
		return "hm apps, hm deas, hm holds and hm commands list show what is recorded"
	case http.StatusUnauthorized:
		return "set HM_TOKEN, or HM_USERNAME and HM_PASSWORD, or HM_CERT and HM_KEY"
	case http.StatusForbidden:
		return "ask with credentials of the role admin: see docs/access.md"
	case http.StatusConflict:
		return "look at it again: it has changed, or goes on already"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return "try again, or ask another node with " + addrFlags
	case http.StatusInternalServerError:
		return "the log of the node says more"
	}
	return ""
}
