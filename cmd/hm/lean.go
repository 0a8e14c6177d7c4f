//go:build lean

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// This is the program that packages install: it runs a node and asks nodes. It has neither the simulated Cloud Foundry
// nor the NATS server nor the SQLite driver: a daemon need not carry them (docs/decisions/0024).

func newDevCommand(*cli) *cobra.Command { return leftOutCommand("dev") }

func newSimCommand(*cli) *cobra.Command { return leftOutCommand("sim") }

// leftOutCommand only says where a command is that this program does not have.
func leftOutCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "Not in this program", Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return withHint(errors.New("hm "+name+" is not in this program, which is made for running and asking nodes"),
				"get it from a checkout of hm: go run ./cmd/hm "+name)
		},
	}
}
