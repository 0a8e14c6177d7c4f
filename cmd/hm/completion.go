package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

// Limits of a completion that asks a node.
const (
	completionTimeout = time.Second
	maxCompletions    = 100
)

// completer gives what an argument, or the value of a flag, may be.
type completer = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completeFlag lets the shell complete the values of a flag.
func completeFlag(cmd *cobra.Command, flag string, fn completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // the command has no such flag: a mistake in the program
	}
}

// only completes these words.
func only(choices ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return choices, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument, and no further one.
func first(fn completer) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return fn(cmd, args, begun)
	}
}

// completeFormats completes -o.
func completeFormats(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if ownOutput(cmd) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return formatsOf(cmd), cobra.ShellCompDirectiveNoFileComp
}

// candidate is an id with what a shell shows beside it.
type candidate struct{ id, about string }

// asked completes with what a node answers within a second. Any failure gives no completion, and is not told: the shell
// is in the middle of a line.
func (r *remote) asked(cmd *cobra.Command, fn func(context.Context, *api.Client) ([]candidate, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	client, err := r.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	found, err := fn(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, c := range slices.CompactFunc(found, func(a, b candidate) bool { return a.id == b.id }) {
		if strings.ContainsFunc(c.id, isControl) {
			continue // it cannot be typed
		}
		out = append(out, c.id+"\t"+words.OneLine(c.about))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// begin gives the ids that begin so: the first ones, and of a long list the last one by field too, since a shell writes
// what all that it is told have in common. Without a field the ids are in no order.
func begin[T any](ctx context.Context, begun, field string, pages func(api.ListOptions) *api.Pages[T], of func(T) candidate) ([]candidate, error) {
	var out []candidate
	list := pages(api.ListOptions{Prefix: begun, Limit: maxCompletions})
	for item, err := range list.All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, of(item))
	}
	if !list.LeftOut() || field == "" {
		return out, nil
	}
	for item, err := range pages(api.ListOptions{Prefix: begun, Limit: 1, Sort: "-" + field}).All(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, of(item))
	}
	return out, nil
}

func (r *remote) completeApps(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return r.asked(cmd, func(ctx context.Context, client *api.Client) ([]candidate, error) {
		return begin(ctx, begun, "app", client.AppPages, func(a api.AppItem) candidate {
			about := fmt.Sprintf("%d running", a.Instances.Running)
			if a.Desired != nil {
				about = fmt.Sprintf("%d running, %d desired", a.Instances.Running, a.Desired.Instances)
			}
			return candidate{a.App, about}
		})
	})
}

func (r *remote) completeDEAs(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return r.asked(cmd, func(ctx context.Context, client *api.Client) ([]candidate, error) {
		return begin(ctx, begun, "dea", client.DEAPages, func(d api.DEA) candidate {
			about := words.Count(d.Count, "instance")
			if !d.GoneAt.IsZero() {
				about += ", gone"
			}
			return candidate{d.DEA, about}
		})
	})
}

func (r *remote) completeCommands(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return r.asked(cmd, func(ctx context.Context, client *api.Client) ([]candidate, error) {
		pages := func(o api.ListOptions) *api.Pages[api.Command] { return client.CommandPages("", o) }
		return begin(ctx, begun, "", pages, func(x api.Command) candidate {
			return candidate{x.ID, fmt.Sprintf("%s %s/%d, %s", x.Action, words.Short(x.App), x.Index, x.State)}
		})
	})
}

func (r *remote) completeHolds(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return r.asked(cmd, func(ctx context.Context, client *api.Client) ([]candidate, error) {
		return begin(ctx, begun, "name", client.HoldPages, func(h api.Hold) candidate { return candidate{h.Name, h.Reason} })
	})
}

// completeFields lets the shell complete the fields of a list in --filter and --sort-by.
func completeFields(cmd *cobra.Command, list string) {
	fields := api.ListFields(list)
	completeFlag(cmd, "sort-by", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		down := begun[:len(begun)-len(strings.TrimPrefix(begun, "-"))]
		var out []string
		for _, f := range fields {
			if f.Sorts {
				out = append(out, down+f.Name+"\t"+f.About)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	completeFlag(cmd, "filter", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return completeFilter(fields, begun), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

// completeFilter completes the last condition of a filter: its field, or its value if there are only some.
func completeFilter(fields []api.ListField, begun string) []string {
	done, last := "", begun
	if i := strings.LastIndexByte(begun, ','); i >= 0 {
		done, last = begun[:i+1], begun[i+1:]
	}
	var out []string
	for _, f := range fields {
		op := "="
		if f.Number {
			op = ">"
		}
		rest, named := strings.CutPrefix(last, f.Name)
		if !named || !strings.HasPrefix(rest, "=") && !strings.HasPrefix(rest, "!=") {
			out = append(out, done+f.Name+op+"\t"+f.About)
			continue
		}
		for _, word := range f.Words {
			out = append(out, done+f.Name+rest[:strings.IndexByte(rest, '=')+1]+word)
		}
	}
	return out
}
