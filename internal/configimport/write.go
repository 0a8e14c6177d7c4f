package configimport

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"hm/internal/config"
)

// YAML gives the configuration for a file: the keys that differ from hm's defaults, each with the key that it comes
// from, below the report as a comment. It contains secrets. name is that of the source, and command the one that made it.
func (im Import) YAML(command, name string) []byte {
	var b bytes.Buffer
	b.WriteString("# Made by " + command + " from " + shortName(name) + ".\n")
	b.WriteString("# It is secret: it holds passwords. Let only the user that runs hm read it.\n")
	b.WriteString("#\n# It is the configuration of a single node. For a cluster of 3 or 5 nodes, add to it on each node:\n" +
		"#   node: { id: hm-0 }            # another id on each node\n" +
		"#   raft:\n" +
		"#     listen: 10.0.0.1:7140       # this node's address\n" +
		`#     peers: ["hm-0=10.0.0.1:7140", "hm-1=10.0.0.2:7140", "hm-2=10.0.0.3:7140"]  # the same on each node` + "\n" +
		"#     tls: { cert: node.crt, key: node.key, ca: ca.crt }\n")
	if len(im.Missing) > 0 {
		b.WriteString("#\n# To do, before hm starts with it:\n")
		for _, p := range im.Missing {
			b.WriteString("#   " + p.Error() + "\n")
		}
	}
	if len(im.Warnings) > 0 {
		b.WriteString("#\n# To look at:\n")
		for _, w := range im.Warnings {
			b.WriteString("#   " + w + "\n")
		}
	}
	b.WriteString("#\n# What became of each key (\"default\" is the value that hm has anyway):\n")
	for _, l := range im.Lines {
		b.WriteString("#   " + im.describe(l) + "\n")
	}
	if len(im.Absent) > 0 {
		fmt.Fprintf(&b, "#\n# What is not in the file, and %s does otherwise than hm:\n", im.predecessor)
		for _, l := range im.Absent {
			b.WriteString("#   " + im.describe(l) + "\n")
		}
	}
	im.writeKeys(&b)
	return b.Bytes()
}

// writeKeys writes the settings in the order of hm's keys.
func (im Import) writeKeys(b *bytes.Buffer) {
	order := map[string]int{}
	for i, k := range config.Keys() {
		order[k.Name] = i
	}
	settings := slices.DeleteFunc(slices.Clone(im.settings), setting.isDefault)
	slices.SortStableFunc(settings, func(a, b setting) int { return cmp.Compare(order[a.key], order[b.key]) })
	var path []string
	for _, s := range settings {
		parts := strings.Split(s.key, ".")
		sections, last := parts[:len(parts)-1], parts[len(parts)-1]
		for i, section := range sections {
			if i < len(path) && path[i] == section {
				continue
			}
			path = path[:i]
			if i == 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(b, "%s%s:\n", indent(i), section)
			path = append(path, section)
		}
		path = path[:len(sections)]
		fmt.Fprintf(b, "%s%s: %s  # from %s\n", indent(len(sections)), last, s.yaml(), s.from)
	}
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// yaml gives the value as YAML, on one line.
func (s setting) yaml() string {
	switch v := s.value.(type) {
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = quoted(fmt.Sprint(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case time.Duration:
		return s.text()
	case string:
		plain, err := yaml.Marshal(v)
		text := strings.TrimSuffix(string(plain), "\n")
		if err != nil || strings.Contains(text, "\n") {
			return quoted(v)
		}
		return text
	}
	return fmt.Sprint(s.value)
}

// quoted gives a text in quotes. What JSON puts into quotes means the same in YAML.
func quoted(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return `""` // a text can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}
