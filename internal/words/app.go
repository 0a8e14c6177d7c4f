package words

import (
	"fmt"

	"hm/internal/api"
)

// Desired says what is desired of a version of an app. otherVersion is the version that is desired instead, if any.
func Desired(d *api.Desired, otherVersion string) string {
	switch {
	case d != nil:
		return fmt.Sprintf("%s, %s, package %s", Count(d.Instances, "instance"), d.State, d.PackageState)
	case otherVersion != "":
		return "no: version " + otherVersion + " is desired"
	}
	return "no: the desired state does not have this version"
}

// Crash tells the crash series of an index.
func Crash(b api.Basis, r api.CrashRecord) string {
	text := fmt.Sprintf("%s restarted after a crash, the last %s", Count(r.Count, "time"), Ago(b, r.Last))
	if r.Count == 0 {
		text = "no restart yet"
	}
	if r.Exited != "" {
		text += ", instance " + Short(r.Exited) + " went away before any heartbeat showed it (" + r.ExitedBy + ")"
	}
	if r.Count > 0 && r.Answered {
		text += ", an instance has been live since"
	}
	if r.Tries > 0 {
		text += fmt.Sprintf(", %s without effect, the last %s", Count(r.Tries, "start"), Ago(b, r.TriedAt))
	}
	if r.Effective != r.Count {
		text += fmt.Sprintf(", counted as %d by now", r.Effective)
	}
	if r.BackoffMS > 0 {
		text += ", a further crash waits " + milliseconds(r.BackoffMS)
	} else {
		text += ", a further crash is restarted at once"
	}
	if !r.Forgotten.IsZero() {
		text += ", forgotten " + When(b, r.Forgotten)
	}
	return text
}

// StateTone returns the tone of an instance's state.
func StateTone(state string) Tone {
	switch state {
	case "CRASHED":
		return Bad
	case "EVACUATING", "STARTING":
		return Warn
	}
	return Plain
}

// OutcomeTone returns the tone of a command's state.
func OutcomeTone(state string) Tone {
	switch state {
	case "confirmed":
		return Good
	case "expired", "abandoned":
		return Warn
	}
	return Plain
}

// BucketTone returns the tone of what hm does about a finding: keep, start, stop, wait or hold.
func BucketTone(bucket string) Tone {
	switch bucket {
	case "keep":
		return Good
	case "start", "stop":
		return Bad
	case "wait", "hold":
		return Warn
	}
	return Plain
}
