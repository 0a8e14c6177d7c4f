package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"hm/internal/configimport"
	"hm/internal/words"
)

func newConfigImportHM9000Command(c *cli) *cobra.Command {
	return newConfigImportCommand(c, "import-hm9000 FILE", "Make hm's configuration from HM9000's JSON", configimport.FromHM9000,
		`Make hm's configuration from HM9000's JSON (hm9000.json), and print it.

`+importLong, `  hm config import-hm9000 hm9000.json -o hm.yml
  hm config check --config hm.yml`)
}

func newConfigImportRubyCommand(c *cli) *cobra.Command {
	return newConfigImportCommand(c, "import-ruby FILE", "Make hm's configuration from the YAML of HealthManager 2.0", configimport.FromRuby,
		`Make hm's configuration from the YAML of HealthManager 2.0, the one in Ruby (health_manager.yml), and
print it. Intervals in seconds become heartbeats of 10 s, the period of the DEAs.

`+importLong, `  hm config import-ruby health_manager.yml -o hm.yml
  hm config check --config hm.yml`)
}

const importLong = `The comment at its top says what became of each key: carried over, hm's default anyway, dropped and
why, or unknown, with the key that was probably meant. The keys below differ from hm's defaults. What
deserves a look is also printed to standard error.

The result is secret: it holds the passwords, because hm must start with it. With -o the file can be
read by you alone, and must not exist before. It is the configuration of a single node; the comment
says what a cluster needs.

Exit code: 0 if hm starts with the result, 1 if something is left to do; then it says what.`

// newConfigImportCommand makes the command that imports the configuration of one predecessor.
func newConfigImportCommand(c *cli, use, short string, from func([]byte) (configimport.Import, error), long, example string) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			imported, err := importConfig(c, args[0], from)
			if err != nil {
				return err
			}
			text := imported.YAML(cmd.CommandPath(), filepath.Base(args[0]))
			if err := writeSecret(c.out, out, text); err != nil {
				return err
			}
			warnings := imported.Warnings
			for _, w := range imported.Config.Warnings() {
				warnings = append(warnings, w.Error())
			}
			for _, w := range warnings {
				if _, err := fmt.Fprintf(c.err, "warning: %s\n", w); err != nil {
					return err
				}
			}
			if n := len(imported.Missing); n > 0 {
				return withHint(fmt.Errorf("hm does not start with this configuration before you change %s:\n%w", words.Count(n, "thing"), imported.Missing),
					"hm config check --config FILE says what is left; docs/configuration.md explains the keys")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", stdStream, "file to write, which must not exist; - for standard output")
	return cmd
}

func importConfig(c *cli, name string, from func([]byte) (configimport.Import, error)) (configimport.Import, error) {
	var data []byte
	var err error
	if name == stdStream {
		data, err = io.ReadAll(io.LimitReader(c.in, configimport.MaxSize+1))
	} else {
		data, err = readLimited(name, configimport.MaxSize)
	}
	if err != nil {
		return configimport.Import{}, fmt.Errorf("read the configuration to import: %w", err)
	}
	imported, err := from(data)
	if err != nil {
		return configimport.Import{}, withHint(fmt.Errorf("import %s: %w", name, err), "correct the file, or a copy of it, and import it again")
	}
	return imported, nil
}

// writeSecret writes to standard output, or to a new file that only this user can read.
func writeSecret(stdout io.Writer, name string, text []byte) (err error) {
	if name == stdStream {
		_, err := stdout.Write(text)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return withHint(err, "give the name of a file that does not exist")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(text)
	return err
}
