package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"hm/internal/config"
	"hm/internal/server"
)

func newConfigCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, print and import the configuration",
	}
	cmd.AddCommand(newConfigCheckCommand(c), newConfigPrintCommand(c), newConfigSampleCommand(c), newConfigImportHM9000Command(c), newConfigImportRubyCommand(c),
		newConfigDocsCommand(c))
	return cmd
}

// checkResult is the JSON of hm config check.
type checkResult struct {
	OK       bool     `json:"ok"`
	Warnings []string `json:"warnings,omitempty"`
}

func newConfigCheckCommand(c *cli) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every mistake in the configuration",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := flags.load()
			if err != nil {
				return err
			}
			if err := server.Check(l.Config); err != nil {
				return err
			}
			result := checkResult{OK: true}
			for _, w := range l.Warnings() {
				result.Warnings = append(result.Warnings, w.Error())
			}
			result.Warnings = append(result.Warnings, flags.exposedSecrets(l)...)
			if c.forPrograms() {
				return c.printValue(result, nil, "")
			}
			for _, w := range result.Warnings {
				if _, err := fmt.Fprintf(c.err, "warning: %s\n", w); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(c.out, "ok")
			return err
		},
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	flags.register(cmd)
	return cmd
}

func newConfigPrintCommand(c *cli) *cobra.Command {
	var flags configFlags
	var format string
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration with masked secrets, and where each value came from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if format != "yaml" && format != "json" {
				return withHint(fmt.Errorf("output format %q is not known", format), "use -o yaml or -o json")
			}
			l, err := flags.load()
			if err != nil {
				return err
			}
			tree := l.tree()
			if format == "json" {
				return writeJSON(c, tree)
			}
			enc := yaml.NewEncoder(c.out)
			enc.SetIndent(2)
			if err := enc.Encode(tree); err != nil {
				return err
			}
			return enc.Close()
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "yaml", "output format: yaml or json")
	return cmd
}

func newConfigDocsCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:    "docs",
		Short:  "Print docs/configuration.md",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.out.Write(config.Markdown())
			return err
		},
	}
}

// tree returns the configuration as a YAML mapping in the order of the keys. A value that is not the default has a
// comment that says where it came from.
func (l loaded) tree() *yaml.Node {
	masked := l.Masked()
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range config.Keys() {
		parts := strings.Split(key.Name, ".")
		section := root
		for _, part := range parts[:len(parts)-1] {
			section = child(section, part)
		}
		value := valueNode(key, &masked)
		if !key.IsDefault(&l.Config) {
			value.LineComment = "from " + l.origins[key.Name]
		}
		section.Content = append(section.Content, textNode(parts[len(parts)-1]), value)
	}
	return root
}

// child returns the mapping with this name, and adds it if it is missing.
func child(section *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(section.Content); i += 2 {
		if section.Content[i].Value == name {
			return section.Content[i+1]
		}
	}
	below := &yaml.Node{Kind: yaml.MappingNode}
	section.Content = append(section.Content, textNode(name), below)
	return below
}

func textNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func valueNode(key config.Key, c *config.Config) *yaml.Node {
	n := &yaml.Node{}
	switch v := key.Get(c).(type) {
	case string:
		n.SetString(v)
		if v == "" {
			n.Style = yaml.DoubleQuotedStyle
		}
	case []string:
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		for _, s := range v {
			n.Content = append(n.Content, textNode(s))
		}
	case bool:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!bool", key.Text(c)
	case int:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!int", key.Text(c)
	case float64:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!float", key.Text(c)
	default:
		n.SetString(key.Text(c))
	}
	return n
}

// writeJSON writes a tree as JSON, in the tree's order.
func writeJSON(c *cli, tree *yaml.Node) error {
	var compact, indented bytes.Buffer
	if err := appendJSON(&compact, tree); err != nil {
		return err
	}
	if err := json.Indent(&indented, compact.Bytes(), "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, indented.String())
	return err
}

func appendJSON(b *bytes.Buffer, n *yaml.Node) error {
	ends := map[yaml.Kind]string{yaml.MappingNode: "{}", yaml.SequenceNode: "[]"}[n.Kind]
	if ends == "" {
		var v any
		if err := n.Decode(&v); err != nil {
			return err
		}
		text, err := json.Marshal(v)
		b.Write(text)
		return err
	}
	b.WriteByte(ends[0])
	for i, e := range n.Content {
		switch {
		case i == 0:
		case n.Kind == yaml.MappingNode && i%2 == 1:
			b.WriteByte(':')
		default:
			b.WriteByte(',')
		}
		if err := appendJSON(b, e); err != nil {
			return err
		}
	}
	b.WriteByte(ends[1])
	return nil
}
