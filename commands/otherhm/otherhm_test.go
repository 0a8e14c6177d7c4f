package otherhm

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/commands"
	"hm/commands/compare"
	"hm/commands/natspub"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

const (
	hmStart = `{"message_id":"m1","droplet":"a","version":"v","instance_index":3,"more":[1]}`
	hmStop  = `{"message_id":"m2","droplet":"a","version":"v","instance_guid":"i","instance_index":2,"is_duplicate":true}`
	// As HealthManager 2.0 writes them (N17, N19).
	healthStart = `{"droplet":"a","last_updated":1400000000,"version":"v","indices":[2],"running":{"v":1},"flapping":false}`
	healthStop  = `{"droplet":"a","last_updated":1400000000,"instances":{"i1":"v","i2":"w"},"running":{"v":3},"version":"v"}`
)

var decoders = map[string]decoder{
	"hm9000.start": DecodeStart, "hm9000.stop": DecodeStop, natspub.SubjectHealthStart: DecodeHealthStart, natspub.SubjectHealthStop: DecodeHealthStop,
}

func key(version string) app.Key {
	return app.Key{Droplet: app.MustGUID("a"), Version: app.MustGUID(version)}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		subject, data string
		want          []compare.Other
	}{
		{"hm9000.start", hmStart, []compare.Other{{Action: commands.Start, App: key("v"), Index: 3, MessageID: "m1"}}},
		{"hm9000.stop", hmStop, []compare.Other{{Action: commands.Stop, App: key("v"), Index: 2, Instance: app.MustGUID("i"), MessageID: "m2", Duplicate: true}}},
		{natspub.SubjectHealthStart, healthStart, []compare.Other{{Action: commands.Start, App: key("v"), Index: 2}}},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, "[2]", "[4,2,4]", 1), []compare.Other{
			{Action: commands.Start, App: key("v"), Index: 2}, {Action: commands.Start, App: key("v"), Index: 4},
		}},
		{natspub.SubjectHealthStop, healthStop, []compare.Other{
			{Action: commands.Stop, App: key("v"), Index: -1, Instance: app.MustGUID("i1")},
			{Action: commands.Stop, App: key("w"), Index: -1, Instance: app.MustGUID("i2")},
		}},
	} {
		if got, err := decoders[c.subject]([]byte(c.data)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s reads as %+v, %v", c.subject, c.data, got, err)
		}
	}
}

func TestDecodersAreStrict(t *testing.T) {
	long := strings.Repeat("9", maxMessage)
	var many []string
	for i := range maxCommands + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for _, c := range []struct{ subject, data string }{
		{"hm9000.start", strings.Replace(hmStart, `"m1"`, `"`+strings.Repeat("m", maxMessageID+1)+`"`, 1)},
		{"hm9000.start", strings.Replace(hmStart, `"m1"`, `"m 1"`, 1)},
		{"hm9000.start", strings.Replace(hmStart, `3,`, `"3",`, 1)},
		{"hm9000.stop", strings.Replace(hmStop, `"m2"`, `"m\u00e9"`, 1)},
		{"hm9000.stop", strings.Replace(hmStop, `"instance_guid":"i",`, "", 1)},
		{natspub.SubjectHealthStart, `{}`},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, `[2]`, `[]`, 1)},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, `[2]`, `[-1]`, 1)},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, `[2]`, `[65536]`, 1)},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, `[2]`, `[`+strings.Join(many, ",")+`]`, 1)},
		{natspub.SubjectHealthStart, strings.Replace(healthStart, `"version":"v"`, `"version":null`, 1)},
		{natspub.SubjectHealthStop, strings.Replace(healthStop, `{"i1":"v","i2":"w"}`, `{}`, 1)}, // W35
		{natspub.SubjectHealthStop, strings.Replace(healthStop, `"i1":"v"`, `"":"v"`, 1)},
		{natspub.SubjectHealthStop, strings.Replace(healthStop, `"i1":"v"`, `"i1":null`, 1)},
		{natspub.SubjectHealthStop, strings.Replace(healthStop, `"droplet":"a"`, `"droplet":7`, 1)},
		{natspub.SubjectHealthStop, `{"droplet":"a","last_updated":` + long + `}`},
	} {
		if got, err := decoders[c.subject]([]byte(c.data)); !errors.Is(err, ErrMalformed) || got != nil {
			t.Errorf("%s %.120s reads as %+v, %v", c.subject, c.data, got, err)
		}
	}
	for subject, decode := range decoders {
		for _, text := range []string{``, `null`, `[]`, `{`, `7`} {
			if got, err := decode([]byte(text)); !errors.Is(err, ErrMalformed) || got != nil {
				t.Errorf("%s %q reads as %+v, %v", subject, text, got, err)
			}
		}
	}
}

// FuzzDecode: whatever comes, a decoder gives a bounded number of commands that name an app and a target, or an error.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{hmStart, hmStop, healthStart, healthStop, `{"droplet":"a","version":"v","indices":[0,0,1e0]}`, `{"instances":{"i":{}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for subject, decode := range decoders {
			list, err := decode(data)
			if err != nil {
				if !errors.Is(err, ErrMalformed) || list != nil {
					t.Fatalf("%s gives %+v and %v", subject, list, err)
				}
				continue
			}
			if len(list) == 0 || len(list) > maxCommands {
				t.Fatalf("%s gives %d commands", subject, len(list))
			}
			for _, c := range list {
				start := c.Action == commands.Start && c.Index >= 0 && c.Instance.IsZero()
				stop := c.Action == commands.Stop && c.Index >= -1 && !c.Instance.IsZero()
				if c.App.Droplet.IsZero() || c.App.Version.IsZero() || !start && !stop || len(c.MessageID) > maxMessageID {
					t.Fatalf("%s gives %+v", subject, c)
				}
			}
		}
	})
}

func TestListen(t *testing.T) {
	srv := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}, PingInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	var mu sync.Mutex
	var heard []compare.Other
	var log bytes.Buffer
	l, err := Open(link, ProtocolHM9000, func(id string) bool { return id == "own" }, func(o compare.Other) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, o)
	}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, "http", nil, nil, nil); err == nil {
		t.Error("the protocol http can be heard over nats")
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	nc := bustest.Client(t, srv.URL())
	for range 3 {
		for _, m := range []struct{ subject, data string }{
			{"hm9000.start", hmStart}, {"hm9000.stop", hmStop}, {"hm9000.stop", hmStart}, {"hm9000.start", "\x00" + strings.Repeat("no", 1000)},
			{"hm9000.start", strings.Replace(hmStart, "m1", "own", 1)}, {natspub.SubjectHealthStart, healthStart},
		} {
			if err := nc.Publish(m.subject, []byte(m.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := Stats{Received: 15, Malformed: 6, Own: 3, Commands: 6}
	bustest.Until(t, "all is handled", func() bool { return l.Stats() == want })
	l.Close()
	mu.Lock()
	defer mu.Unlock()
	if len(heard) != 6 {
		t.Errorf("heard %+v", heard)
	}
	lines := log.String()
	if n := strings.Count(lines, "cannot be read"); n != 2 { // one a subject
		t.Errorf("%d lines about 6 malformed messages:\n%s", n, lines)
	}
	if n := strings.Count(lines, "another node of this cluster"); n != 1 || len(lines) > 3000 {
		t.Errorf("the log is\n%s", lines)
	}
}

// TestOwnMessagesAreRead: what hm itself sends reads back as the command that it is, in both protocols.
func TestOwnMessagesAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		guid := rapid.Custom(func(t *rapid.T) app.GUID {
			return app.MustGUID(rapid.StringMatching(`[!-~]{1,40}|[0-9a-fA-F]{32}`).Draw(t, "guid"))
		})
		c := commands.Command{
			ID: commands.ID{rapid.Byte().Draw(t, "id"), 1}, Action: commands.Start, Reason: commands.ReasonMissing, Index: rapid.Uint32Range(0, actual.MaxIndex).Draw(t, "index"),
			App: app.Key{Droplet: guid.Draw(t, "droplet"), Version: guid.Draw(t, "version")},
		}
		r := commands.Running{Desired: guid.Draw(t, "desired")}
		for _, v := range rapid.SliceOfDistinct(guid, func(g app.GUID) app.GUID { return g }).Draw(t, "versions") {
			r.Counts = append(r.Counts, commands.VersionCount{Version: v, Instances: rapid.IntRange(0, 9).Draw(t, "n")})
		}
		if rapid.Bool().Draw(t, "stop") {
			c.Action, c.Reason, c.Instance = commands.Stop, commands.ReasonDuplicate, guid.Draw(t, "instance")
		}
		own := compare.Other{Action: c.Action, App: c.App, Index: int(c.Index), Instance: c.Instance, MessageID: c.ID.String(), Duplicate: c.IsDuplicate()}
		ruby := compare.Other{Action: c.Action, App: c.App, Index: int(c.Index), Instance: c.Instance}
		if c.Action == commands.Stop {
			ruby.Index = -1 // the message does not say
		}
		for _, m := range []struct {
			encode func() (string, []byte, error)
			want   compare.Other
		}{
			{func() (string, []byte, error) { return natspub.Message(c, commands.Spelling{}) }, own},
			{func() (string, []byte, error) { return natspub.HealthMessage(c, commands.Spelling{}, r) }, ruby},
		} {
			subject, data, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decoders[subject](data); err != nil || !reflect.DeepEqual(got, []compare.Other{m.want}) {
				t.Fatalf("%s %s reads as %+v, %v, want %+v", subject, data, got, err, m.want)
			}
		}
	})
}
