package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// page is the document while it is written. After the first error every method does nothing.
type page struct {
	scene *scene
	text  bytes.Buffer
	err   error
}

// say writes paragraphs as they are, with an empty line after them.
func (p *page) say(text string) {
	if p.err == nil {
		p.text.WriteString(wrapped(strings.TrimSpace(text)) + "\n")
	}
}

// ending is how many lines of a long output are shown of its end.
const ending = 4

// show runs a command of hm, and writes it with what it printed, at most max lines of it.
func (p *page) show(ctx context.Context, max int, command string, args ...string) {
	if p.err != nil {
		return
	}
	args = append(strings.Fields(command), args...)
	output, code, err := p.scene.ask(ctx, args...)
	if err != nil {
		p.err = err
		return
	}
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(output, p.scene.dir+"/", "")) {
		lines = append(lines, strings.TrimRight(line, " \r\n"))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if left := len(lines) - max; left > 0 { // the end often sums up
		end := lines[len(lines)-ending:]
		lines = append(append(slices.Clone(lines[:max-ending]), fmt.Sprintf("... (%s more)", words.Count(left, "line"))), end...)
	}
	if code != 0 {
		lines = append(lines, "$ echo $?", fmt.Sprint(code))
	}
	for i, a := range args {
		if strings.Contains(a, " ") {
			args[i] = "'" + a + "'"
		}
	}
	lines = append([]string{"$ hm " + strings.Join(args, " ")}, lines...)
	fmt.Fprintf(&p.text, "```text\n%s\n```\n\n", strings.Join(lines, "\n"))
}

// until waits until the status of the first node is as wanted.
func (p *page) until(ctx context.Context, what string, is func(api.Status) bool) {
	p.wait(ctx, what, func() bool {
		var s api.Status
		output, _, err := p.scene.ask(ctx, "status", "-o", "json")
		return err == nil && json.Unmarshal([]byte(output), &s) == nil && is(s)
	})
}

// wait waits until something is so.
func (p *page) wait(ctx context.Context, what string, is func() bool) {
	for begin := time.Now(); p.err == nil && !is(); {
		select {
		case <-ctx.Done():
			p.err = fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		if p.err == nil && time.Since(begin) > 2*time.Minute {
			p.err = fmt.Errorf("waited two minutes until %s", what)
		}
	}
}

// let lets time pass, as it does while a person reads and thinks.
func (p *page) let(ctx context.Context, d time.Duration) {
	if p.err == nil {
		select {
		case <-ctx.Done():
			p.err = ctx.Err()
		case <-time.After(d):
		}
	}
}

// do changes the simulation.
func (p *page) do(ctx context.Context, method, path, body string, into any) {
	if p.err == nil {
		p.err = p.scene.simulate(ctx, method, path, body, into)
	}
}

// wrapped breaks paragraphs into lines of at most 100 columns; headings, lists and tables stay.
func wrapped(text string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if strings.HasPrefix(paragraph, "|") || strings.HasPrefix(paragraph, "```") {
			b.WriteString(paragraph + "\n")
			continue
		}
		column, indent := 0, ""
		if marker, _, _ := strings.Cut(paragraph, " "); marker == "-" || strings.Trim(marker, "0123456789") == "." {
			indent = strings.Repeat(" ", len(marker)+1)
		}
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case column == 0:
			case column+1+len(word) > 100:
				b.WriteString("\n" + indent)
				column = len(indent)
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += len(word)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// file shows a file of the scene. Comment lines from one that begins with leftOut on are left out, up to the next empty
// line.
func (p *page) file(name, leftOut string) {
	if p.err != nil {
		return
	}
	text, err := os.ReadFile(filepath.Join(p.scene.dir, name))
	if err != nil {
		p.err = err
		return
	}
	fmt.Fprintf(&p.text, "```text\n$ cat %s\n", name)
	left := 0
	for line := range strings.Lines(strings.TrimSpace(string(text))) {
		line = strings.TrimRight(line, "\n")
		switch {
		case left > 0 && line != "":
			left++
			continue
		case left > 0:
			fmt.Fprintf(&p.text, "# ... (%s more)\n", words.Count(left-1, "line"))
			left = 0
		case strings.HasPrefix(line, leftOut):
			left = 1
		}
		p.text.WriteString(line + "\n")
	}
	p.text.WriteString("```\n\n")
}
