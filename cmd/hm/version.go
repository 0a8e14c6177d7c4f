package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/formats"
)

// The linker sets these in released builds: -ldflags "-X main.release=v1.2.3 -X main.commit=...".
var release, commit string

// buildInfo describes this build. hm version -o json and -o yaml print it.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with uncommitted changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Formats has the newest version of each format that this build reads and writes; see docs/formats.md.
	Formats map[string]int `json:"formats"`
}

func readBuildInfo() buildInfo {
	info := buildInfo{Version: release, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Formats: formats.Versions()}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = cmp.Or(info.Commit, s.Value)
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "dev"
	}
	return info
}

// formatLines has a line for each format: its version and its name.
func formatLines() string {
	var b strings.Builder
	for i, f := range formats.All() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%4d  %s", f.Version, strings.ReplaceAll(f.Name, "`", ""))
	}
	return b.String()
}

func newVersionCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := readBuildInfo()
			text := "hm " + info.Version
			if info.Commit != "" {
				text += fmt.Sprintf(" (%.12s)", info.Commit)
			}
			return c.printValue(info, nil, text+" "+info.Go+" "+info.Platform+"\n"+formatLines())
		},
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	return cmd
}
