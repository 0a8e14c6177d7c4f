package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"hm/internal/api"
)

// pageRows is how many rows a page of a list has.
const pageRows = 100

// ListView is what all lists of pages share: what was asked for, and how to ask for something else. Everything works as
// links and forms, without a script.
type ListView struct {
	Path    string
	Search  string // the beginning of an id
	Filter  string // conditions as the API takes them
	Show    string // name of the choice among Shows
	Sort    string // name of the choice among Sorts
	Shows   []choice
	Sorts   []choice
	First   string // address of the first page; empty on it
	Next    string // address of the next page; empty on the last
	Total   int    // items that are selected; -1: not known
	Refused string // what the API says of a filter that it does not take
	Hint    string

	cursor string
	query  url.Values
	where  []string // conditions of the choice
	order  string
}

// choice is one of several things to show, or orders.
type choice struct {
	Name  string
	Text  string
	Value string // a filter, or an order, of the API
	Path  string // address of the page with it
	Here  bool   // it is chosen
	Count int    // how much there is of it; -1: not known
}

// viewOf reads what a request asks for. The first of shows and sorts is chosen if none is.
func viewOf(u *url.URL, shows, sorts []choice) ListView {
	q := u.Query()
	v := ListView{
		Path: u.Path, Search: strings.TrimSpace(q.Get("q")), Filter: strings.TrimSpace(q.Get("filter")), Total: -1,
		cursor: q.Get("cursor"), query: q,
	}
	v.Shows, v.Show = v.choose(shows, "show")
	v.Sorts, v.Sort = v.choose(sorts, "sort")
	for _, c := range v.Shows {
		if c.Here && c.Value != "" {
			v.where = append(v.where, c.Value)
		}
	}
	if v.Filter != "" {
		v.where = append(v.where, v.Filter)
	}
	for _, c := range v.Sorts {
		if c.Here {
			v.order = c.Value
		}
	}
	if v.cursor != "" {
		v.First = v.with("cursor", "")
	}
	return v
}

// choose marks the choice that the parameter names, and gives its name.
func (v *ListView) choose(from []choice, parameter string) (out []choice, chosen string) {
	here := 0
	for i, c := range from {
		if c.Name == v.query.Get(parameter) {
			here = i
		}
	}
	for i, c := range from {
		name := c.Name
		if i == 0 {
			name = "" // it needs no parameter
		}
		c.Here, c.Path = i == here, v.with(parameter, name)
		if c.Here {
			chosen = c.Name
		}
		out = append(out, c)
	}
	return out, chosen
}

// with gives the address of the page with another value of a parameter, from its beginning.
func (v *ListView) with(parameter, value string) string {
	q := url.Values{}
	for _, name := range []string{"q", "show", "sort", "filter"} {
		if text := v.query.Get(name); text != "" {
			q.Set(name, text)
		}
	}
	q.Del(parameter)
	if value != "" {
		q.Set(parameter, value)
	}
	if len(q) == 0 {
		return v.Path
	}
	return v.Path + "?" + q.Encode()
}

// options gives what to ask the API for.
func (v *ListView) options() api.ListOptions {
	return api.ListOptions{
		Prefix: v.Search, Filter: strings.Join(v.where, ","), Sort: v.order, Cursor: v.cursor, Limit: pageRows,
	}
}

// took takes in the page of a list that was read. A filter that the API refuses is told beside the form; any other error
// is given back.
func (v *ListView) took(total int, cursor string, err error) error {
	var p *api.Problem
	switch {
	case err == nil:
		v.Total = total
		if cursor != "" {
			v.Next = v.with("cursor", cursor)
		}
		return nil
	case errors.As(err, &p) && p.Status == http.StatusBadRequest:
		v.Refused, v.Hint = p.Detail, p.Hint
		if v.First != "" { // perhaps the cursor is too old
			v.Hint = strings.TrimSpace(v.Hint + " The list may have changed too much since: go to its first page.")
		}
		return nil
	}
	return err
}
