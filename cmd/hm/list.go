package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// tableLimit is the default of --limit. Output for programs has no limit by default.
const tableLimit = 200

// listFlags are the flags of a list.
type listFlags struct {
	c       *cli
	cmd     *cobra.Command
	limit   int
	options api.ListOptions
	wide    bool
}

// listFlags adds the flags of a list to cmd.
func (c *cli) listFlags(cmd *cobra.Command, list string) *listFlags {
	l := &listFlags{c: c, cmd: cmd}
	f := cmd.Flags()
	f.IntVar(&l.limit, "limit", tableLimit, "show at most this many; 0 shows all, as JSON, YAML and names do by default. Rows are printed as they come: the first 1,000 say how wide the columns are")
	f.BoolVar(&l.wide, "wide", false, "show every id in full, and all columns, as -o wide does")
	l.selection(list)
	return l
}

// selection adds the flags that select and order items.
func (l *listFlags) selection(list string) {
	f := l.cmd.Flags()
	f.StringVar(&l.options.Prefix, "prefix", "", "only items whose id begins so")
	f.StringVar(&l.options.Filter, "filter", "", "only items for which all conditions hold: FIELD=VALUE, !=, and for numbers and times also <, <=, >, >=; with commas between them")
	f.StringVar(&l.options.Sort, "sort-by", "", "order by this field; -FIELD begins with the largest. The node looks at the whole list before the first item comes")
	completeFields(l.cmd, list)
}

// get returns what the list selects.
func (l *listFlags) get() (api.ListOptions, error) {
	o := l.options
	o.Limit = l.limit
	switch {
	case o.Limit < 0:
		return o, withHint(fmt.Errorf("--limit %d: want 0 or more", o.Limit), "0 shows all")
	case l.c.forPrograms() && !l.cmd.Flags().Changed("limit"):
		o.Limit = 0
	}
	return o, nil
}

// lister says how the items of a list are shown.
type lister[T any] struct {
	header []string
	row    func(b api.Basis, item T) row
	name   func(T) string
	seen   func(T)         // is told every item; nil: nobody
	none   string          // what is said instead of a table without rows
	after  func() []string // lines between the table and the basis; nil: none
}

// printPages prints a list as it comes. It keeps a page or two in memory, however long the list is.
func printPages[T any](ctx context.Context, c *cli, pages *api.Pages[T], l lister[T]) error {
	out := l.output(c, pages)
	n := 0
	for items, err := range ahead(ctx, pages) {
		if err != nil {
			return err
		}
		for _, item := range items {
			if l.seen != nil {
				l.seen(item)
			}
			if err := out.add(item); err != nil {
				return err
			}
		}
		n += len(items)
	}
	if err := out.close(); err != nil {
		return err
	}
	if c.forPrograms() || c.noHeaders {
		return nil // nothing beside the data
	}
	return l.printFoot(c, pages, n)
}

// printItems prints items that are all there, for programs.
func printItems[T any](c *cli, items []T, name func(T) string) error {
	out := lister[T]{name: name}.output(c, nil)
	for _, item := range items {
		if err := out.add(item); err != nil {
			return err
		}
	}
	return out.close()
}

// printFoot prints what stands below a table.
func (l lister[T]) printFoot(c *cli, pages *api.Pages[T], n int) error {
	if n == 0 && l.none != "" {
		if _, err := fmt.Fprintln(c.out, l.none); err != nil {
			return err
		}
	}
	if pages.LeftOut() {
		of := "more"
		if pages.Total >= 0 {
			of = strconv.Itoa(pages.Total)
		}
		if _, err := fmt.Fprintf(c.out, "showing %d of %s; --limit 0 shows all\n", n, of); err != nil {
			return err
		}
	}
	if l.after != nil {
		for _, line := range l.after() {
			if _, err := fmt.Fprintln(c.out, line); err != nil {
				return err
			}
		}
	}
	return c.printBasis(pages.Basis)
}

// firstPage is how many items the first page has: enough for the widths of a table, and soon there.
const firstPage = sampleRows

// ahead reads one page ahead, so that the node makes a page while another is printed.
func ahead[T any](ctx context.Context, pages *api.Pages[T]) iter.Seq2[[]T, error] {
	type page struct {
		items []T
		err   error
	}
	return func(yield func([]T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		next := make(chan page)
		cut := false // a page was read and not given: ctx ended
		go func() {
			defer close(next)
			pages.SetSize(firstPage)
			for pages.More() {
				items, err := pages.Next(ctx)
				pages.SetSize(fullPage)
				select {
				case next <- page{items, err}:
				case <-ctx.Done():
					cut = true
					return
				}
				if err != nil {
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range next { // until the goroutine has ended
			}
		}()
		for p := range next {
			if !yield(p.items, p.err) || p.err != nil {
				return
			}
		}
		if cut {
			yield(nil, fmt.Errorf("the list was interrupted: %w", context.Cause(ctx)))
		}
	}
}

// fullPage is how many items the later pages have.
const fullPage = 5000

// listOutput prints items in one format.
type listOutput[T any] interface {
	add(item T) error
	close() error
}

func (l lister[T]) output(c *cli, pages *api.Pages[T]) listOutput[T] {
	w := bufio.NewWriter(c.out)
	switch c.output {
	case formatJSON:
		return &jsonList[T]{w: w}
	case formatYAML:
		return &yamlList[T]{w: w}
	case formatName:
		return &nameList[T]{w: w, name: l.name}
	}
	return &tableList[T]{table: c.newTable(l.header), row: func(item T) row { return l.row(pages.Basis, item) }}
}

// tableList prints items as rows of a table.
type tableList[T any] struct {
	*table
	row func(T) row
}

func (t *tableList[T]) add(item T) error { return t.table.add(t.row(item)) }

// jsonList prints a JSON array, one item a line.
type jsonList[T any] struct {
	w *bufio.Writer
	n int
}

func (l *jsonList[T]) add(item T) error {
	raw, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encoding the list: %w", err)
	}
	sep := ",\n"
	if l.n == 0 {
		sep = "[\n"
	}
	l.n++
	l.w.WriteString(sep)
	_, err = l.w.Write(raw)
	return err
}

func (l *jsonList[T]) close() error {
	end := "\n]\n"
	if l.n == 0 {
		end = "[]\n"
	}
	l.w.WriteString(end)
	return l.w.Flush()
}

// yamlList prints a YAML sequence.
type yamlList[T any] struct {
	w *bufio.Writer
	n int
}

func (l *yamlList[T]) add(item T) error {
	l.n++
	raw, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encoding the list: %w", err)
	}
	return writeYAMLItem(l.w, raw)
}

func (l *yamlList[T]) close() error {
	if l.n == 0 {
		if _, err := io.WriteString(l.w, "[]\n"); err != nil {
			return err
		}
	}
	return l.w.Flush()
}

// nameList prints the ids of items, one a line. Equal ids that follow each other are printed once.
type nameList[T any] struct {
	w    *bufio.Writer
	name func(T) string
	last string
}

func (l *nameList[T]) add(item T) error {
	name := l.name(item)
	if name == l.last {
		return nil
	}
	l.last = name
	_, err := fmt.Fprintln(l.w, name)
	return err
}

func (l *nameList[T]) close() error { return l.w.Flush() }
