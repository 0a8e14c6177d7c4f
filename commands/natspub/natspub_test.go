package natspub

import (
	"context"
	"errors"
	"flag"
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

var update = flag.Bool("update", false, "update the golden files")

func command(action commands.Action, reason commands.Reason) commands.Command {
	c := commands.Command{
		ID: commands.ID{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}, Action: action, Reason: reason,
		App:   app.Key{Droplet: app.MustGUID("3f2a1b4c-0d9e-4f00-8abc-0123456789ab"), Version: app.MustGUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")},
		Index: 3,
	}
	if action == commands.Stop {
		c.Instance = app.MustGUID("0123456789abcdef0123456789abcdef")
	}
	return c
}

func TestGoldenMessages(t *testing.T) {
	odd := command(commands.Stop, commands.ReasonExtra)
	odd.App.Droplet = app.MustGUID(`we"ird\/,<&>`)
	for name, data := range map[string][]byte{
		"start":                    EncodeStart(command(commands.Start, commands.ReasonMissing), commands.Spelling{}),
		"stop-extra":               EncodeStop(command(commands.Stop, commands.ReasonExtra), commands.Spelling{}),
		"stop-duplicate":           EncodeStop(command(commands.Stop, commands.ReasonDuplicate), commands.Spelling{}),
		"stop-evacuation":          EncodeStop(command(commands.Stop, commands.ReasonEvacuationComplete), commands.Spelling{}),
		"stop-with-an-odd-droplet": EncodeStop(odd, commands.Spelling{}),
	} {
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
	capitals := command(commands.Stop, commands.ReasonExtra)
	spelling := commands.Spelling{App: app.KeyLetterCase{Droplet: app.UpperCase, Version: 2}, Instance: app.UpperCase}
	const spelled = `"droplet":"3F2A1B4C-0D9E-4F00-8ABC-0123456789AB","version":"7C9e6679-7425-40de-944b-e07fc1f90ae7",`
	if data := EncodeStop(capitals, spelling); !strings.Contains(string(data), spelled+`"instance_guid":"0123456789ABCDEF0123456789ABCDEF"`) {
		t.Errorf("spelled with capitals: %s", data)
	}
	if data := EncodeStart(capitals, spelling); !strings.Contains(string(data), spelled) {
		t.Errorf("spelled with capitals: %s", data)
	}
	if s, err := DecodeStop(EncodeStop(odd, commands.Spelling{})); err != nil || s.Droplet != odd.App.Droplet {
		t.Errorf("the odd droplet reads as %q, %v", s.Droplet, err)
	}
}

func TestDecodersAreStrict(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"message_id":"m","droplet":"a","version":"b"}`, `{"message_id":"m","droplet":"","version":"b","instance_index":0}`,
		`{"message_id":"m","droplet":"a","version":"b","instance_index":"0"}`, `{"message_id":"m","droplet":"a","version":"b","instance_index":-1}`,
		`{"message_id":"m","droplet":"a","version":"b","instance_index":65536}`, `{"message_id":"m","droplet":"a b","version":"b","instance_index":0}`,
		`{"droplet":"a","version":"b","instance_index":0}`, `{"message_id":"` + string(make([]byte, maxMessage)) + `"}`,
	} {
		if s, err := DecodeStart([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("start %.80q reads as %+v, %v", text, s, err)
		}
		if s, err := DecodeStop([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("stop %.80q reads as %+v, %v", text, s, err)
		}
	}
	start := `{"message_id":"m","droplet":"a","version":"b","instance_index":0,"more":[]}`
	if s, err := DecodeStart([]byte(start)); err != nil || s.Index != 0 || s.Droplet.String() != "a" {
		t.Errorf("%s reads as %+v, %v", start, s, err)
	}
	if _, err := DecodeStop([]byte(start)); err == nil {
		t.Error("a start was read as a stop")
	}
	noFlag := `{"message_id":"m","droplet":"a","version":"b","instance_guid":"c","instance_index":0}`
	if _, err := DecodeStop([]byte(noFlag)); err == nil {
		t.Error("a stop without is_duplicate was read")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(EncodeStart(command(commands.Start, commands.ReasonMissing), commands.Spelling{}))
	f.Add(EncodeStop(command(commands.Stop, commands.ReasonDuplicate), commands.Spelling{}))
	f.Add([]byte(`{"message_id":null,"instance_index":1e9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := DecodeStart(data); err == nil {
			if again, err := DecodeStart(encode(startText{s.MessageID, s.Droplet.String(), s.Version.String(), s.Index})); err != nil || again != s {
				t.Fatalf("%+v reads back as %+v, %v", s, again, err)
			}
		}
		if s, err := DecodeStop(data); err == nil {
			if again, err := DecodeStop(encode(stopText{s.MessageID, s.Droplet.String(), s.Version.String(), s.Instance.String(), s.Index, s.IsDuplicate})); err != nil || again != s {
				t.Fatalf("%+v reads back as %+v, %v", s, again, err)
			}
		}
	})
}

func TestPublish(t *testing.T) {
	srv := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}, PingInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	if _, err := New(link, "carrier-pigeon"); err == nil {
		t.Error("an unknown protocol was accepted")
	}
	p, err := New(link, ProtocolHM9000)
	if err != nil {
		t.Fatal(err)
	}
	cc := bustest.Client(t, srv.URL())
	heard := make(chan *nats.Msg, 10)
	for _, subject := range []string{SubjectStart, SubjectStop} {
		if _, err := cc.ChanQueueSubscribe(subject, "cc", heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := cc.Flush(); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })

	start, stop := command(commands.Start, commands.ReasonMissing), command(commands.Stop, commands.ReasonDuplicate)
	wild := command(commands.Stop, commands.ReasonExtra)
	wild.Instance = app.GUID{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := p.Publish(ctx, 0, []commands.Command{start, wild, stop, {}})
	if len(errs) != 4 || errs[0] != nil || errs[2] != nil {
		t.Fatalf("errors %v", errs)
	}
	for _, i := range []int{1, 3} {
		if !errors.Is(errs[i], bus.ErrDown) || !errors.Is(errs[i], bus.ErrRefused) {
			t.Errorf("command %d, which cannot be sent, gives %v", i, errs[i])
		}
	}
	for _, want := range []struct {
		subject string
		data    []byte
	}{{SubjectStart, EncodeStart(start, commands.Spelling{})}, {SubjectStop, EncodeStop(stop, commands.Spelling{})}} {
		select {
		case m := <-heard:
			if m.Subject != want.subject || string(m.Data) != string(want.data) {
				t.Errorf("the Cloud Controller hears %s %s, want %s %s", m.Subject, m.Data, want.subject, want.data)
			}
		case <-ctx.Done():
			t.Fatal("the Cloud Controller hears nothing")
		}
	}

	srv.Stop()
	bustest.Until(t, "the link is down", func() bool { return !link.State().Up })
	for i, err := range p.Publish(ctx, 0, []commands.Command{start, stop}) {
		if !errors.Is(err, bus.ErrDown) {
			t.Errorf("command %d while nats is down: %v, want bus.ErrDown", i, err)
		}
	}
	if errs := p.Publish(ctx, 0, nil); len(errs) != 0 {
		t.Errorf("no command gives %v", errs)
	}
}
