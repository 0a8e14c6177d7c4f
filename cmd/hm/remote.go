package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// remote has the flags for reaching a node.
type remote struct {
	c                  *cli
	username, password string
	token              string
	ca, cert, key      string
	timeout            time.Duration
	watch              watchFlags
}

// remote adds the flags for reaching a node to cmd. The environment replaces empty flags when the command runs. It is
// not the default of the flags, since the help would show the password.
func (c *cli) remote(cmd *cobra.Command) *remote {
	r := &remote{c: c}
	f := cmd.Flags()
	f.StringVar(&r.username, "username", "", "user of the API; also HM_USERNAME")
	f.StringVar(&r.password, "password", "", "password of the API; prefer HM_PASSWORD, since a process list shows flags")
	f.StringVar(&r.token, "token", "", "bearer token for the API instead; prefer HM_TOKEN, since a process list shows flags")
	f.StringVar(&r.ca, "ca", "", "PEM file of the trusted authorities (default: those of the system); also HM_CA")
	f.StringVar(&r.cert, "cert", "", "PEM file of a client certificate; also HM_CERT")
	f.StringVar(&r.key, "key", "", "PEM file of the certificate's key; also HM_KEY")
	f.DurationVar(&r.timeout, "timeout", 30*time.Second, "how long to wait for one answer")
	return r
}

// addrFlags are the flags that name the node to ask.
const addrFlags = "--addr or HM_ADDR"

func (r *remote) client() (*api.Client, error) { return r.clientOf(r.c.addr, addrFlags) }

// clientOf returns a client of the node at addr. flags are the flags that named it.
func (r *remote) clientOf(addr, flags string) (*api.Client, error) {
	client, err := api.NewClient(api.ClientOptions{
		Addr: addr, Username: cmp.Or(r.username, os.Getenv("HM_USERNAME")),
		Password: cmp.Or(r.password, os.Getenv("HM_PASSWORD")),
		Token:    r.bearer(),
		CA:       cmp.Or(r.ca, os.Getenv("HM_CA")), Cert: cmp.Or(r.cert, os.Getenv("HM_CERT")),
		Key:     cmp.Or(r.key, os.Getenv("HM_KEY")),
		Timeout: r.timeout,
	})
	if err != nil {
		return nil, withHint(err, flags+" names a node; see --help for the credentials")
	}
	return client, nil
}

// bearer returns the token to show. A user name that is given as a flag counts more than HM_TOKEN.
func (r *remote) bearer() string {
	if r.token == "" && r.username == "" {
		return strings.TrimSpace(os.Getenv("HM_TOKEN"))
	}
	return r.token
}

// ask runs fn with a client, and adds hints to its error.
func (r *remote) ask(fn func(*api.Client) error) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return explained(fn(client), addrFlags)
}

// reads adds the flags of a command that shows what a node answers to cmd: in these formats of -o, once or again and
// again.
func (c *cli) reads(cmd *cobra.Command, formats ...string) *remote {
	hasFormats(cmd, formats...)
	r := c.remote(cmd)
	r.watch.register(cmd)
	c.noHeadersFlag(cmd)
	return r
}

func (c *cli) noHeadersFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.noHeaders, "no-headers", false, "rows alone: no header, and no lines around the table")
}

// show runs fn with a client: once, or with --watch again and again until cmd's context ends.
func (r *remote) show(cmd *cobra.Command, fn func(context.Context, *api.Client) error) error {
	once := func() error {
		return r.ask(func(client *api.Client) error { return fn(cmd.Context(), client) })
	}
	if !r.watch.on {
		return once()
	}
	return r.c.watch(cmd.Context(), r.watch, once)
}

// explained adds the hint and the candidates of an error of the API. flags are the flags that named the node.
func explained(err error, flags string) error {
	var p *api.Problem
	var gone *api.Unreachable
	switch {
	case errors.As(err, &p):
		if len(p.Candidates) > 0 {
			err = fmt.Errorf("%w:\n  %s", err, strings.Join(p.Candidates, "\n  "))
		}
		if p.Hint != "" {
			return withHint(err, p.Hint)
		}
	case errors.As(err, &gone):
		return withHint(err, "is hm running there? "+flags+" names any of the nodes")
	}
	return err
}
