package config

import (
	_ "embed"
	"fmt"
	"strings"
)

// Markdown makes docs/configuration.md from the table of keys. hm config docs prints it.
func Markdown() []byte {
	var b strings.Builder
	b.WriteString(docsHead)
	section := ""
	for _, k := range keys {
		if s, _, _ := strings.Cut(k.Name, "."); s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | value | meaning |\n|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, code(k.DefaultText()), cell(k.valueDoc()), cell(k.Doc+k.marks()))
	}
	b.WriteString(docsTail)
	return []byte(b.String())
}

// valueDoc describes the values that the key takes.
func (k Key) valueDoc() string {
	doc := k.limit.want
	if k.Unit != "" {
		doc += "; " + k.Unit
	}
	return doc
}

func (k Key) marks() string {
	if k.Secret {
		return " *Secret: never shown.*"
	}
	return ""
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// What stands before and after the tables of the keys.
var (
	//go:embed docs/head.md
	docsHead string
	//go:embed docs/tail.md
	docsTail string
)
