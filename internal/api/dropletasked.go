package api

import (
	"encoding/json"
	"errors"
	"fmt"

	"hm/internal/app"
)

// maxDroplets is how many droplets one healthmanager.* question may name. A Cloud Controller asks for the apps of one
// space at a time (N36).
const maxDroplets = 5_000

// dropletAsked is one droplet that a Cloud Controller of HealthManager 2.0's time asks for.
type dropletAsked struct {
	droplet, version string // as asked
	key              spelledKey
}

// readAsked reads one droplet with its version. If version is nil or null, the version of key is zero.
func readAsked(droplet string, version json.RawMessage) (a dropletAsked, err error) {
	a.droplet = droplet
	if a.key.Droplet, err = app.ParseGUID(droplet); err != nil {
		return a, fmt.Errorf("droplet: %w", err)
	}
	a.key.capitals.Droplet = app.LetterCaseOf(a.key.Droplet, droplet)
	if len(version) == 0 || string(version) == "null" {
		return a, nil
	}
	if err := json.Unmarshal(version, &a.version); err != nil {
		return a, fmt.Errorf("version: %w", err)
	}
	if a.key.Version, err = app.ParseGUID(a.version); err != nil {
		return a, fmt.Errorf("version: %w", err)
	}
	a.key.capitals.Version = app.LetterCaseOf(a.key.Version, a.version)
	return a, nil
}

// readDroplets reads the question of healthmanager.health and healthmanager.droplet (N36, N37); only the first is about
// versions. A droplet that cannot be read is left out, and then there is an error beside the others. What is named twice
// is in the result once.
func readDroplets(request []byte, versions bool) (asked []dropletAsked, err error) {
	var q struct {
		Droplets []json.RawMessage `json:"droplets"`
	}
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("the question is not an object with a list of droplets: %w", err)
	}
	switch {
	case q.Droplets == nil:
		return nil, errors.New("the question has no list of droplets")
	case len(q.Droplets) > maxDroplets:
		return nil, fmt.Errorf("the question names %d droplets: ask for at most %d at a time", len(q.Droplets), maxDroplets)
	}
	unreadable := 0
	seen := make(map[spelledKey]bool, len(q.Droplets))
	for _, raw := range q.Droplets {
		a, problem := readDroplet(raw, versions)
		switch {
		case problem != nil:
			unreadable++
			err = problem
		case !seen[a.key]:
			seen[a.key] = true
			asked = append(asked, a)
		}
	}
	if err != nil {
		err = fmt.Errorf("%d of %d droplets of the question cannot be read: %w", unreadable, len(q.Droplets), err)
	}
	return asked, err
}

func readDroplet(raw []byte, versions bool) (dropletAsked, error) {
	var d struct {
		Droplet string          `json:"droplet"`
		Version json.RawMessage `json:"version"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return dropletAsked{}, err
	}
	if !versions {
		d.Version = nil
	}
	return readAsked(d.Droplet, d.Version)
}

// The states that healthmanager.status is asked for (N35).
const (
	statusCrashed  = "CRASHED"
	statusFlapping = "FLAPPING"
)

// readStatus reads the question of healthmanager.status (N35).
func readStatus(request []byte) (a dropletAsked, state string, err error) {
	var q struct {
		Droplet string          `json:"droplet"`
		Version json.RawMessage `json:"version"`
		State   string          `json:"state"`
	}
	if err := json.Unmarshal(request, &q); err != nil {
		return a, "", fmt.Errorf("the question is not an object with a droplet and a state: %w", err)
	}
	if q.State != statusFlapping {
		q.Version = nil // the answer has the crashed instances of every version
	}
	a, err = readAsked(q.Droplet, q.Version)
	return a, q.State, err
}
