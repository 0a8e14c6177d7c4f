package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// line is a line of any type in JSON. Unknown members are ignored.
type line struct {
	T       *time.Time      `json:"t,omitempty"`
	Type    string          `json:"type"`
	Format  *int            `json:"format,omitempty"`
	Started *time.Time      `json:"started,omitempty"`
	Part    int             `json:"part,omitempty"`
	Note    string          `json:"note,omitempty"`
	Node    string          `json:"node,omitempty"`
	ID      string          `json:"id,omitempty"`
	Anew    bool            `json:"anew,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
	Anon    bool            `json:"anonymized,omitempty"`

	Subject string          `json:"subject,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Base64  []byte          `json:"base64,omitempty"`
	Repeat  string          `json:"repeat,omitempty"`

	Apps       *[]appRow  `json:"apps,omitempty"`
	More       bool       `json:"more,omitempty"`
	Unreadable []app.GUID `json:"unreadable,omitempty"`
	Source     string     `json:"source,omitempty"`
	Began      *time.Time `json:"began,omitempty"`
	Error      string     `json:"error,omitempty"`
	Unchanged  bool       `json:"unchanged,omitempty"`
	Again      bool       `json:"again,omitempty"`

	App      *app.GUID `json:"app,omitempty"`
	Snapshot []byte    `json:"snapshot,omitempty"`

	Name   string     `json:"name,omitempty"`
	Set    *bool      `json:"set,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Reason string     `json:"reason,omitempty"`
	By     string     `json:"by,omitempty"`

	Up     *bool `json:"up,omitempty"`
	Gap    bool  `json:"gap,omitempty"`
	Change *bool `json:"change,omitempty"`
	Lost   bool  `json:"lost,omitempty"`
}

// appRow is a desired app in JSON.
type appRow struct {
	ID        app.GUID `json:"id"`
	Version   app.GUID `json:"version"`
	Instances *uint32  `json:"instances"`
	State     string   `json:"state"`
	Package   string   `json:"package_state"`
}

func rowOf(a desired.App) appRow {
	return appRow{a.Key.Droplet, a.Key.Version, &a.Instances, a.State.String(), a.Package.String()}
}

func (r appRow) app() (desired.App, error) {
	a := desired.App{Key: app.Key{Droplet: r.ID, Version: r.Version}}
	if r.ID.IsZero() || r.Version.IsZero() {
		return a, errors.New("an app has no id or no version")
	}
	if r.Instances == nil || *r.Instances > desired.MaxInstances {
		return a, fmt.Errorf("app %s: instances must be a number from 0 to %d", r.ID, desired.MaxInstances)
	}
	a.Instances = *r.Instances
	var err error
	if a.State, err = desired.ParseRunState(r.State); err != nil {
		return a, fmt.Errorf("app %s: %w", r.ID, err)
	}
	if a.Package, err = desired.ParsePackageState(r.Package); err != nil {
		return a, fmt.Errorf("app %s: %w", r.ID, err)
	}
	return a, nil
}
