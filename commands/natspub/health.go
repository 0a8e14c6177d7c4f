package natspub

import (
	"errors"

	"hm/commands"
)

// The subjects of HealthManager 2.0.
const (
	SubjectHealthStart = "health.start"
	SubjectHealthStop  = "health.stop"
)

// maxVersions bounds the versions that a message counts. The Cloud Controller looks at two of them: the command's and
// its own (N18, N20).
const maxVersions = 64

// EncodeHealthStart gives the body of health.start for a start command (N17). hm does not record when an app was changed,
// and the Cloud Controller does not ask: last_updated is null.
func EncodeHealthStart(c commands.Command, s commands.Spelling, r commands.Running) []byte {
	return encode(healthStartText{
		Droplet: s.Droplet(c), Version: s.Version(c), Indices: []uint32{c.Index}, Running: counts(c, s, r), Flapping: r.Flapping,
	})
}

// EncodeHealthStop gives the body of health.stop for a stop command (N19). It fails for a command that names no instance:
// a Cloud Controller reads a stop without instances as a stop of every instance of the app (N20, W35).
func EncodeHealthStop(c commands.Command, s commands.Spelling, r commands.Running) ([]byte, error) {
	if c.Instance.IsZero() || c.App.Version.IsZero() {
		return nil, errors.New("health.stop needs an instance and its version: without one it stops every instance of the app")
	}
	text := healthStopText{
		Droplet: s.Droplet(c), Instances: map[string]string{s.InstanceGUID(c): s.Version(c)}, Running: counts(c, s, r),
	}
	if !r.Desired.IsZero() {
		text.Version = new(string)
		*text.Version = versionText(c, s, desiredCount(r))
	}
	return encode(text), nil
}

// healthStartText and healthStopText are the bodies, their fields in the order in which they are written.
type healthStartText struct {
	Droplet     string         `json:"droplet"`
	LastUpdated *int64         `json:"last_updated"`
	Version     string         `json:"version"`
	Indices     []uint32       `json:"indices"`
	Running     map[string]int `json:"running"`
	Flapping    bool           `json:"flapping"`
}

type healthStopText struct {
	Droplet     string            `json:"droplet"`
	LastUpdated *int64            `json:"last_updated"`
	Instances   map[string]string `json:"instances"`
	Running     map[string]int    `json:"running"`
	Version     *string           `json:"version"`
}

// counts gives the field running: at most maxVersions versions, the command's and the desired one among them.
func counts(c commands.Command, s commands.Spelling, r commands.Running) map[string]int {
	running := make(map[string]int, min(len(r.Counts), maxVersions))
	for _, matters := range [2]bool{true, false} {
		for _, n := range r.Counts {
			if matters == (n.Version == c.App.Version || n.Version == r.Desired) && len(running) < maxVersions {
				running[versionText(c, s, n)] = n.Instances
			}
		}
	}
	return running
}

// versionText writes a version as the Cloud Controller writes it, which finds it by its text.
func versionText(c commands.Command, s commands.Spelling, n commands.VersionCount) string {
	if n.Version == c.App.Version {
		return s.Version(c)
	}
	return n.LetterCase.Spell(n.Version)
}

// desiredCount gives the count of the desired version.
func desiredCount(r commands.Running) commands.VersionCount {
	for _, n := range r.Counts {
		if n.Version == r.Desired {
			return n
		}
	}
	return commands.VersionCount{Version: r.Desired}
}

// HealthMessage gives the subject and body of a command of the protocol health. It fails for a command that is neither a
// start nor a stop of an instance.
func HealthMessage(c commands.Command, s commands.Spelling, r commands.Running) (subject string, data []byte, err error) {
	switch c.Action {
	case commands.Start:
		return SubjectHealthStart, EncodeHealthStart(c, s, r), nil
	case commands.Stop:
		if data, err = EncodeHealthStop(c, s, r); err == nil {
			return SubjectHealthStop, data, nil
		}
		return "", nil, refuse(c, err)
	}
	return "", nil, refuse(c, errors.New("it is neither a start nor a stop of an instance"))
}
