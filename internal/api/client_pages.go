package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ListOptions select and order the items of a list. The zero value selects the whole list in its own order. docs/json.md
// has the fields of each list.
type ListOptions struct {
	Prefix string // of the id: of apps and drift the app's guid, of DEAs, commands and holds their own
	Filter string // conditions like "drift=missing,instances>2"; all must hold
	Sort   string // a field, with - before it to begin with the largest
	Cursor string // where another reading of the same list ended (Pages.Cursor); empty: from the beginning
	Limit  int    // at most so many items; 0: all
}

func (o ListOptions) values(pairs ...string) url.Values {
	return nonEmpty(append([]string{"prefix", o.Prefix, "filter", o.Filter, "sort", o.Sort, "cursor", o.Cursor}, pairs...)...)
}

// Pages reads a list page by page, so that a list of any length needs the memory of one page. It is not safe for
// concurrent use.
type Pages[T any] struct {
	// Basis, Gate and Total are those of the first page, as in a Listing.
	Basis Basis
	Gate  []string
	Total int

	client *Client
	path   string
	query  url.Values
	left   int // items that may still come; -1: any number
	cursor string
	begun  bool
	size   int
}

func newPages[T any](c *Client, path string, query url.Values, limit int) *Pages[T] {
	p := &Pages[T]{client: c, path: path, query: query, left: -1, Total: -1, size: maxPage}
	if p.query == nil {
		p.query = url.Values{}
	}
	if limit > 0 {
		p.left = limit
	}
	return p
}

// SetSize sets how many items a page has at most (1 to 10,000). A small first page comes sooner.
func (p *Pages[T]) SetSize(n int) { p.size = min(max(n, 1), maxPage) }

// More reports whether Next has more items to give. It is true before the first page.
func (p *Pages[T]) More() bool { return p.left != 0 && (!p.begun || p.cursor != "") }

// Cursor gives where the list goes on after the items that Next has given, for ListOptions; empty at its end.
func (p *Pages[T]) Cursor() string { return p.cursor }

// LeftOut reports, once Next has given all, whether the list goes on after the last item because of the limit.
func (p *Pages[T]) LeftOut() bool { return p.left == 0 && p.cursor != "" }

// Next gives the items of the next page; none if there are no more.
func (p *Pages[T]) Next(ctx context.Context) ([]T, error) {
	if !p.More() {
		return nil, nil
	}
	size := p.size
	if p.left > 0 {
		size = min(size, p.left)
	}
	p.query.Set("limit", strconv.Itoa(size))
	a, err := p.client.do(ctx, http.MethodGet, p.path, p.query, nil)
	if err != nil {
		return nil, err
	}
	var items []T
	if err := json.Unmarshal(a.body, &items); err != nil {
		return nil, fmt.Errorf("the answer of %s to %s cannot be read: %w", p.client.base, p.path, err)
	}
	if !p.begun {
		p.begun, p.Basis = true, basisOf(a.header)
		if n, err := strconv.Atoi(a.header.Get(headerTotal)); err == nil {
			p.Total = n
		}
		if gate := a.header.Get(headerGate); gate != "" && gate != "open" {
			p.Gate = strings.Split(gate, ",")
		}
	}
	cursor := a.header.Get(headerCursor)
	if cursor != "" && (cursor == p.cursor || len(items) == 0) {
		return nil, fmt.Errorf("the pages of %s of %s do not end", p.path, p.client.base)
	}
	if p.cursor = cursor; cursor != "" {
		p.query.Set("cursor", cursor)
	}
	if p.left > 0 {
		items = items[:min(len(items), p.left)]
		p.left -= len(items)
	}
	return items, nil
}

// All gives every item, and reads pages as they are needed. An error comes with the zero item and ends it.
func (p *Pages[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for p.More() {
			items, err := p.Next(ctx)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// AppPages lists apps, by guid and version unless o.Sort says otherwise.
func (c *Client) AppPages(o ListOptions) *Pages[AppItem] {
	return newPages[AppItem](c, "/v1/apps", o.values(), o.Limit)
}

// DEAPages lists DEAs, by id unless o.Sort says otherwise.
func (c *Client) DEAPages(o ListOptions) *Pages[DEA] {
	return newPages[DEA](c, "/v1/deas", o.values(), o.Limit)
}

// DriftPages lists drift, most urgent first unless o.Sort says otherwise: of one app if app is not empty, of one kind if
// kind is not.
func (c *Client) DriftPages(app, kind string, o ListOptions) *Pages[DriftItem] {
	return newPages[DriftItem](c, "/v1/drift", o.values("app", app, "kind", kind), o.Limit)
}

// CommandPages lists outstanding commands, by app and index unless o.Sort says otherwise: of one app if app is not empty.
func (c *Client) CommandPages(app string, o ListOptions) *Pages[Command] {
	return newPages[Command](c, "/v1/commands", o.values("app", app), o.Limit)
}

// EndedPages lists those of the newest commands that ended (at most 10,000) that o selects, newest first unless o.Sort
// says otherwise.
func (c *Client) EndedPages(app string, newest int, o ListOptions) *Pages[Command] {
	return newPages[Command](c, "/v1/commands", o.values("app", app, "outstanding", "false", "history", strconv.Itoa(min(newest, maxPage))), o.Limit)
}

// HoldPages lists holds.
func (c *Client) HoldPages(o ListOptions) *Pages[Hold] {
	return newPages[Hold](c, "/v1/holds", o.values(), o.Limit)
}
