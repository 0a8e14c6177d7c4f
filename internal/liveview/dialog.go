package liveview

import (
	"fmt"
	"slices"
	"strings"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/words"
)

type hold = api.Hold

// dialog asks the user to confirm a change.
type dialog struct {
	kind  dialogKind
	hold  string // the name of the hold to release
	typed string // the reason of a pause
}

type dialogKind uint8

const (
	dialogPause   dialogKind = iota // asks for a reason
	dialogRelease                   // of one hold
	dialogNothing                   // says that there is nothing to release
	dialogChoose                    // which hold
)

// pauseDialog asks to pause hm, or to resume it.
func pauseDialog(f Frame) *dialog {
	if f.paused() {
		return &dialog{kind: dialogRelease, hold: reconcile.HoldPaused}
	}
	return &dialog{kind: dialogPause}
}

// releaseDialog asks to release the chosen hold, or the only one, or asks which.
func (s Screen) releaseDialog(f Frame, width, height int) *dialog {
	if r, ok := s.chosen(draw(f, s, width, height, Theme{}).rows); ok && r.hold != "" {
		return &dialog{kind: dialogRelease, hold: r.hold}
	}
	switch holds := f.holds(); len(holds) {
	case 0:
		return &dialog{kind: dialogNothing}
	case 1:
		return &dialog{kind: dialogRelease, hold: holds[0].Name}
	}
	return &dialog{kind: dialogChoose}
}

func (f Frame) holds() []hold {
	if f.Status == nil {
		return nil
	}
	return f.Status.Holds
}

// pressDialog takes a key while a dialog is shown.
func (s Screen) pressDialog(name, text string, f Frame) (Screen, Effect) {
	d := *s.dialog
	if name == "esc" {
		s.dialog = nil
		return s, Effect{}
	}
	switch d.kind {
	case dialogPause:
		if name == "enter" {
			s.dialog = nil
			return s, Effect{Change: &Change{Pause: true, Reason: d.typed}}
		}
		d.typed = typeKey(d.typed, name, text)
		s.dialog = &d
	case dialogRelease:
		if name == "y" {
			s.dialog = nil
			return s, Effect{Change: &Change{Release: d.hold}}
		}
	case dialogChoose:
		holds := f.holds()
		if at := slices.Index([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, name); at >= 0 && at < len(holds) {
			s.dialog = &dialog{kind: dialogRelease, hold: holds[at].Name}
		}
	case dialogNothing:
		s.dialog = nil
	}
	return s, Effect{}
}

// dialogLines draws the dialog.
func (p painter) dialogLines(d dialog) []line {
	var lines []line
	say := func(parts ...any) { lines = append(lines, wrap(words.Say(parts...), p.width, "")...) }
	asWho := "It is recorded as done by " + p.By + "."
	if p.By == "" {
		asWho = "It is recorded with the user of the API."
	}
	switch d.kind {
	case dialogPause:
		say(warn("Pause hm on all nodes?"))
		say("It sends no commands until somebody resumes it. It goes on recording and showing the drift.")
		say(asWho)
		lines = append(lines, line{}, text("reason: "+d.typed+"_"), line{})
		say("Enter pauses hm. Esc changes nothing.")
	case dialogRelease:
		lines = p.releaseLines(d.hold, asWho)
	case dialogChoose:
		say("Several holds are set. Which one is to be released?")
		for i, h := range p.holds()[:min(9, len(p.holds()))] {
			say(fmt.Sprintf("%d  %s", i+1, words.Hold(p.basis(), h)))
		}
		say("Esc changes nothing.")
	case dialogNothing:
		say("No hold is set, so there is nothing to release. Any key goes back.")
	}
	return lines
}

func (p painter) releaseLines(name, asWho string) []line {
	var lines []line
	say := func(parts ...any) { lines = append(lines, wrap(words.Say(parts...), p.width, "")...) }
	at := slices.IndexFunc(p.holds(), func(h hold) bool { return h.Name == name })
	if at < 0 {
		say("The hold " + name + " is not set any more. Esc goes back.")
		return lines
	}
	question := "Release the hold " + name + "?"
	if name == reconcile.HoldPaused {
		question = "Resume hm on all nodes?"
	}
	say(warn(question))
	h := p.holds()[at]
	say("Set " + words.Ago(p.basis(), h.SetAt) + ": " + words.Hold(p.basis(), h))
	others := slices.DeleteFunc(slices.Clone(words.GateReasons(p.Status.Gate)), func(r string) bool {
		return r == "hold:"+name || r == reconcile.ReasonPaused && name == reconcile.HoldPaused
	})
	switch drift := p.Status.Drift; {
	case len(others) > 0:
		say("The gate stays closed all the same: " + strings.Join(others, ", ") + ".")
	case drift.Total() == 0:
		say("Nothing drifts at present.")
	default:
		say("hm then sends commands for what drifts: ", bad(driftWords(drift)), ".")
	}
	say(asWho)
	lines = append(lines, line{})
	say("y releases it. Esc changes nothing.")
	return lines
}

// driftWords lists the kinds of drift that there are.
func driftWords(d api.DriftCounts) string {
	var parts []string
	for _, kind := range words.DriftKinds {
		if n := words.DriftOf(d, kind); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return strings.Join(parts, ", ")
}
