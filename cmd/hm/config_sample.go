package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"hm/internal/config"
)

func newConfigSampleCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "sample",
		Short: "Print a configuration file that has every key, its meaning and its default, as comments",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return writeSample(c.out) },
	}
}

const sampleHead = `# Every key of hm with its meaning and its default. A key is commented out if it has its default:
# take away the # to set it. hm config check --config FILE reports every mistake; hm config print
# shows what is in force.
`

// sampleWidth is where comments are wrapped.
const sampleWidth = 100

// writeSample writes a YAML file that leaves everything at its default.
func writeSample(w io.Writer) error {
	var b strings.Builder
	b.WriteString(sampleHead)
	defaults := config.Default()
	var open []string // the sections around the last key
	for _, key := range config.Keys() {
		parts := strings.Split(key.Name, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		same := 0
		for same < min(len(open), len(sections)) && open[same] == sections[same] {
			same++
		}
		for depth := same; depth < len(sections); depth++ {
			fmt.Fprintf(&b, "\n%s%s:\n", strings.Repeat("  ", depth), sections[depth])
		}
		open = sections
		indent := strings.Repeat("  ", len(sections))
		value, err := yaml.Marshal(valueNode(key, &defaults))
		if err != nil {
			return fmt.Errorf("writing the default of %s: %w", key.Name, err)
		}
		about := key.Doc + " Value: " + key.Want()
		if key.Unit != "" {
			about += "; " + key.Unit
		}
		writeComment(&b, indent+"# ", about+".")
		fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, strings.TrimSpace(string(value)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeComment wraps a text.
func writeComment(b *strings.Builder, prefix, text string) {
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line) > len(prefix) && len(line)+len(word) > sampleWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
