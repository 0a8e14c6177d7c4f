package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/words"
)

// The forms change what keeps hm from sending commands. Whoever may ask the API may send them. The API records the user
// that authenticated, or else the address, and what the person gave as a name.

// pause answers POST /do/pause.
func (d *Dashboard) pause(_ http.ResponseWriter, r *http.Request) (told, error) {
	return d.setHold(r, reconcile.HoldPaused)
}

// hold answers POST /do/hold.
func (d *Dashboard) hold(_ http.ResponseWriter, r *http.Request) (told, error) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	if name == "" {
		return told{}, errors.New("nothing was changed: a hold needs a name")
	}
	return d.setHold(r, name)
}

func (d *Dashboard) setHold(r *http.Request, name string) (told, error) {
	req := api.HoldRequest{Name: name, Reason: strings.TrimSpace(r.PostFormValue("reason")), By: strings.TrimSpace(r.PostFormValue("by"))}
	if text := strings.TrimSpace(r.PostFormValue("minutes")); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || !(minutes > 0) {
			return told{}, fmt.Errorf("nothing was changed: %.20q is not a number of minutes", text)
		}
		req.Minutes = minutes
	}
	h, _, err := d.client.For(r).SetHold(r.Context(), req)
	if err != nil {
		return told{}, err
	}
	return told{Text: "hm sends no commands: " + words.OneLine(words.Hold(api.Basis{At: h.SetAt}, h))}, nil
}

// resume answers POST /do/resume.
func (d *Dashboard) resume(_ http.ResponseWriter, r *http.Request) (told, error) {
	return d.releaseHold(r, reconcile.HoldPaused, "hm is no longer paused")
}

// release answers POST /do/release.
func (d *Dashboard) release(_ http.ResponseWriter, r *http.Request) (told, error) {
	name := r.PostFormValue("name")
	return d.releaseHold(r, name, "hold "+name+" is released")
}

func (d *Dashboard) releaseHold(r *http.Request, name, done string) (told, error) {
	if err := confirmed(r); err != nil {
		return told{}, err
	}
	if name == "" {
		return told{}, errors.New("nothing was changed: the form names no hold")
	}
	err := d.client.For(r).ReleaseHold(r.Context(), name)
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return told{Text: fmt.Sprintf("no hold %.64s was set any more", name), Hint: "somebody released it, or its time was over"}, nil
	}
	if err != nil {
		return told{}, err
	}
	return told{Text: words.OneLine(done)}, nil
}

// cancel answers POST /do/cancel: it drops a command that is not claimed yet.
func (d *Dashboard) cancel(_ http.ResponseWriter, r *http.Request) (told, error) {
	id := strings.TrimSpace(r.PostFormValue("id"))
	if id == "" {
		return told{}, errors.New("nothing was changed: the form names no command")
	}
	c, _, err := d.client.For(r).Cancel(r.Context(), id)
	if err != nil {
		return told{}, err
	}
	return told{
		Text: fmt.Sprintf("command %s is dropped: %s %s/%d", c.ID, c.Action, words.Short(c.App), c.Index),
		Hint: "while the drift remains, hm schedules a new one with its full grace; a hold keeps hm from acting",
	}, nil
}
