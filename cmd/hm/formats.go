package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The formats of -o.
const (
	formatTable = "table" // for people
	formatWide  = "wide"  // a table with all columns and whole ids
	formatJSON  = "json"
	formatYAML  = "yaml" // the same as JSON, with the same keys in the same order
	formatName  = "name" // one id a line
)

var allFormats = []string{formatTable, formatWide, formatJSON, formatYAML, formatName}

// formatsKey is the annotation of a command that has other formats than table and JSON.
const formatsKey = "formats"

// hasFormats says which formats of -o a command has.
func hasFormats(cmd *cobra.Command, formats ...string) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[formatsKey] = strings.Join(formats, " ")
}

// formatsOf returns the formats of -o that a command has.
func formatsOf(cmd *cobra.Command) []string {
	if text := cmd.Annotations[formatsKey]; text != "" {
		return strings.Fields(text)
	}
	return []string{formatTable, formatJSON}
}

// ownOutput reports whether a command has an -o of its own, with another meaning.
func ownOutput(cmd *cobra.Command) bool {
	flag := cmd.Flags().Lookup("output")
	return flag == nil || flag != cmd.Root().PersistentFlags().Lookup("output")
}

func (c *cli) checkOutput(cmd *cobra.Command) error {
	if ownOutput(cmd) {
		return nil
	}
	formats := formatsOf(cmd)
	if slices.Contains(formats, c.output) {
		return nil
	}
	err := fmt.Errorf("output format %q is not known", c.output)
	if slices.Contains(allFormats, c.output) {
		err = fmt.Errorf("%s has no output format %s", cmd.CommandPath(), c.output)
	}
	return withHint(err, "use "+orList(formats, "-o "))
}

// orList returns "a, b or c", each name after the prefix.
func orList(names []string, prefix string) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(prefix + name)
	}
	return b.String()
}

// json reports whether to print JSON.
func (c *cli) json() bool { return c.output == formatJSON }

// forPrograms reports whether the output is for programs: then it has no limit by default, and nothing beside the data.
func (c *cli) forPrograms() bool {
	return slices.Contains([]string{formatJSON, formatYAML, formatName}, c.output)
}

// wide reports whether to print a wide table: -o wide, or --wide.
func (c *cli) wide(flag bool) bool { return flag || c.output == formatWide }

// answer is one object that a command shows.
type answer struct {
	raw   []byte   // JSON
	names []string // ids, for -o name
	text  func() error
}

// print prints an object in the format that is asked for.
func (c *cli) print(a answer) error {
	switch c.output {
	case formatJSON:
		return c.printRaw(a.raw)
	case formatYAML:
		return writeYAML(c.out, a.raw)
	case formatName:
		return c.printNames(a.names)
	}
	return a.text()
}

// printValue prints an object that is not an answer of a node.
func (c *cli) printValue(v any, names []string, text string) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	return c.print(answer{raw: raw, names: names, text: func() error {
		_, err := fmt.Fprintln(c.out, text)
		return err
	}})
}

// printNames prints ids, one a line.
func (c *cli) printNames(names []string) error {
	var errs []error
	for _, name := range names {
		_, err := fmt.Fprintln(c.out, name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// printRaw prints the JSON of an answer unchanged.
func (c *cli) printRaw(raw []byte) error {
	_, err := io.WriteString(c.out, strings.TrimRight(string(raw), "\n")+"\n")
	return err
}
