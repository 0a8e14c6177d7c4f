package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// tableLimit is the default of --limit. JSON has no limit by default.
const tableLimit = 200

// limitFlag adds --limit. limit returns how many items to ask for; 0 is all.
func (c *cli) limitFlag(cmd *cobra.Command) (limit func() (int, error)) {
	n := cmd.Flags().Int("limit", tableLimit, "show at most this many; 0 shows all, as JSON does by default")
	return func() (int, error) {
		if *n < 0 {
			return 0, fmt.Errorf("--limit %d: want 0 or more", *n)
		}
		if c.json() && !cmd.Flags().Changed("limit") {
			return 0, nil
		}
		return *n, nil
	}
}

// printMore prints how many items a table leaves out.
func printMore[T any](c *cli, l api.Listing[T]) error {
	if !l.More {
		return nil
	}
	of := "more"
	if l.Total >= 0 {
		of = strconv.Itoa(l.Total)
	}
	_, err := fmt.Fprintf(c.out, "showing %d of %s; --limit 0 shows all\n", len(l.Items), of)
	return err
}
