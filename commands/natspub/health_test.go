package natspub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/commands"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// beside is what runs of the app of command(): two instances of its version, and one of another.
func beside() commands.Running {
	return commands.Running{
		Desired: app.MustGUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"),
		Counts: []commands.VersionCount{
			{Version: app.MustGUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"), Instances: 2},
			{Version: app.MustGUID("00000000-0000-4000-8000-00000000000a"), Instances: 1},
		},
	}
}

func TestGoldenHealthMessages(t *testing.T) {
	start, stop := command(commands.Start, commands.ReasonMissing), command(commands.Stop, commands.ReasonExtra)
	flapping, gone, old := beside(), beside(), beside()
	flapping.Flapping = true
	gone.Desired = app.GUID{}
	old.Desired = app.MustGUID("aaaaaaaa-0000-4000-8000-00000000000b")
	old.Counts = append(old.Counts, commands.VersionCount{Version: old.Desired, LetterCase: app.UpperCase, Instances: 3})
	odd := stop
	odd.App.Droplet, odd.Instance = app.MustGUID(`we"ird\/,<&>`), app.MustGUID(`"},"running":{`)
	for name, m := range map[string]struct {
		c commands.Command
		s commands.Spelling
		r commands.Running
	}{
		"health-start":                    {start, commands.Spelling{}, beside()},
		"health-start-flapping":           {start, commands.Spelling{}, flapping},
		"health-start-nothing-runs":       {start, commands.Spelling{}, commands.Running{}},
		"health-stop":                     {stop, commands.Spelling{}, beside()},
		"health-stop-another-version":     {stop, commands.Spelling{App: app.KeyLetterCase{Version: app.UpperCase}}, old},
		"health-stop-an-app-not-desired":  {stop, commands.Spelling{Instance: app.UpperCase}, gone},
		"health-stop-odd-guids":           {odd, commands.Spelling{}, beside()},
		"health-stop-an-unheard-instance": {stop, commands.Spelling{}, commands.Running{Desired: stop.App.Version}},
	} {
		_, data, err := HealthMessage(m.c, m.s, m.r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != string(want) {
			t.Errorf("%s is written as\n%s\nwant\n%s", name, data, want)
		}
	}
}

// TestW35HealthStopNamesAnInstance: a Cloud Controller takes a stop without instances for a stop of all of them (N20).
func TestW35HealthStopNamesAnInstance(t *testing.T) {
	all := command(commands.Stop, commands.ReasonExtra)
	all.Instance = app.GUID{}
	unversioned := command(commands.Stop, commands.ReasonExtra)
	unversioned.App.Version = app.GUID{}
	for _, c := range []commands.Command{all, unversioned, {}} {
		if data, err := EncodeHealthStop(c, commands.Spelling{}, beside()); err == nil || data != nil {
			t.Errorf("%+v is written as %s, %v", c, data, err)
		}
		if subject, data, err := HealthMessage(c, commands.Spelling{}, beside()); !errors.Is(err, bus.ErrRefused) || !errors.Is(err, bus.ErrDown) || subject != "" || data != nil {
			t.Errorf("%+v becomes %s %s, %v", c, subject, data, err)
		}
	}
}

// TestHealthMessagesAreBounded: an app with very many versions, as a DEA may make up, still makes a small message, and the
// counts that the Cloud Controller checks are in it.
func TestHealthMessagesAreBounded(t *testing.T) {
	c := command(commands.Stop, commands.ReasonExtra)
	r := commands.Running{Desired: app.MustGUID(strings.Repeat("z", app.MaxGUIDLen))}
	for i := range 10_000 {
		r.Counts = append(r.Counts, commands.VersionCount{Version: app.MustGUID(fmt.Sprintf("%0*d", app.MaxGUIDLen, i)), Instances: 1})
	}
	r.Counts = append(r.Counts, commands.VersionCount{Version: r.Desired, Instances: 7}, commands.VersionCount{Version: c.App.Version, Instances: 8})
	data, err := EncodeHealthStop(c, commands.Spelling{}, r)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Running map[string]int }
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if len(data) > maxMessage || len(m.Running) != maxVersions || m.Running[r.Desired.String()] != 7 || m.Running[c.App.Version.String()] != 8 {
		t.Errorf("%d bytes, %d versions: %.300s", len(data), len(m.Running), data)
	}
}

func TestPublishHealth(t *testing.T) {
	srv := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}, PingInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	p, err := New(link, ProtocolHealth)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *nats.Msg, 10)
	cc := bustest.Client(t, srv.URL())
	if _, err := cc.ChanSubscribe(">", heard); err != nil {
		t.Fatal(err)
	}
	if err := cc.Flush(); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start, stop := command(commands.Start, commands.ReasonMissing), command(commands.Stop, commands.ReasonDuplicate)
	all := stop
	all.Instance = app.GUID{}
	for i, err := range p.Publish(ctx, 0, []commands.Command{start, stop}) {
		if !errors.Is(err, bus.ErrRefused) {
			t.Errorf("command %d, of whose app nothing is known, gives %v", i, err)
		}
	}
	p.Running = func(cmds []commands.Command) []commands.Running {
		r := make([]commands.Running, len(cmds))
		for i := range r {
			r[i] = beside()
		}
		return r
	}
	errs := p.Publish(ctx, 0, []commands.Command{start, all, stop})
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrRefused) || errs[2] != nil {
		t.Fatalf("errors %v", errs)
	}
	wantStop, err := EncodeHealthStop(stop, commands.Spelling{}, beside())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bus.Out{
		{Subject: "health.start", Data: EncodeHealthStart(start, commands.Spelling{}, beside())}, {Subject: "health.stop", Data: wantStop},
	} {
		select {
		case m := <-heard:
			if m.Subject != want.Subject || string(m.Data) != string(want.Data) {
				t.Errorf("the Cloud Controller hears %s %s, want %s %s", m.Subject, m.Data, want.Subject, want.Data)
			}
		case <-ctx.Done():
			t.Fatal("the Cloud Controller hears nothing")
		}
	}
	for action, want := range map[commands.Action]string{commands.Start: "health.start", commands.Stop: "health.stop", commands.None: ""} {
		if got := Subject(ProtocolHealth, action); got != want {
			t.Errorf("%s is published on %q, want %q", action, got, want)
		}
	}
	if got := Subject("http", commands.Start); got != "" {
		t.Errorf("http publishes on %q", got)
	}
}
