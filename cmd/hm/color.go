package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// colourings are the values of --color.
var colourings = []string{"auto", "always", "never"}

func (c *cli) colorFlag(root *cobra.Command) {
	root.PersistentFlags().StringVar(&c.colours, "color", "auto",
		"colours: auto (on a terminal, unless NO_COLOR is set), always or never")
	completeFlag(root, "color", only(colourings...))
}

func (c *cli) checkColor() error {
	if !slices.Contains(colourings, c.colours) {
		return withHint(fmt.Errorf("--color %q is not known", c.colours), "use "+orList(colourings, "--color "))
	}
	return nil
}

// color reports whether to colour the output.
func (c *cli) color() bool {
	switch {
	case c.painted, c.colours == "always":
		return true
	case c.colours == "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && c.terminal()
}
