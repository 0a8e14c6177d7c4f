package dashboard

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"hm/internal/api"
)

// change makes the change that a form asks for, and gives what the next page tells about it; nothing if its Text is
// empty. The API's own protection against requests from other sites stands in front of it.
type change func(w http.ResponseWriter, r *http.Request) (told, error)

// form serves a form. The answer sends the browser back to the page of the form, which tells the outcome.
func (d *Dashboard) form(pattern string, fn change) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		outcome, err := told{}, checkForm(r)
		if err == nil {
			outcome, err = fn(w, r)
		}
		if err != nil {
			outcome = toldOf(err)
		}
		d.cache.changed()
		if outcome.Text != "" {
			tell(w, r, outcome)
		}
		http.Redirect(w, r, backTo(r), http.StatusSeeOther)
	})
}

func checkForm(r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return errors.New("the form was not sent as a form")
	}
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("the form cannot be read: %w", err)
	}
	return nil
}

// toldOf tells an error.
func toldOf(err error) told {
	t := told{Text: err.Error(), Failed: true}
	var p *api.Problem
	if errors.As(err, &p) {
		t.Hint = p.Hint
	}
	return t
}

// backTo is the page that a form returns to: one of this dashboard.
func backTo(r *http.Request) string {
	back := r.PostFormValue("back")
	u, err := url.Parse(back)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(back, "//") ||
		strings.ContainsAny(back, "\\\r\n\t") || strings.HasPrefix(u.Path, "/do/") {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment}).String()
}

// confirmed reports whether the person ticked that the change is meant.
func confirmed(r *http.Request) error {
	if r.PostFormValue("confirm") != "yes" {
		return errors.New("nothing was changed: tick the box that says that you mean it")
	}
	return nil
}
