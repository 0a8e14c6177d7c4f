package cluster

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{'h', 'm', frameVersion, 0}, uint32(len(body))), body...)
}

func TestMessageRoundTrip(t *testing.T) {
	m := message{From: "hm-1", State: stateLeader, Term: 7, Blank: true, Time: 99, Clock: 6, ClockTold: 98, Info: &PeerInfo{API: "10.0.0.1:5155", NATSUp: true, AppliedIndex: 1 << 50, Kinds: 12, DesiredReadBegan: 5, DesiredReadApps: 400_000, Version: "1.2", NATSProved: 250, HandedOver: maxAgo, HandingOver: 1}}
	var b bytes.Buffer
	if err := writeMessage(&b, m); err != nil {
		t.Fatal(err)
	}
	got, err := readMessage(&b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, %v", got, err)
	}
	m.Info.Version = strings.Repeat("x", maxFrame)
	if err := writeMessage(&b, m); err == nil {
		t.Error("a message that is too long is written")
	}
}

func TestMessageRefused(t *testing.T) {
	for _, tt := range []struct{ name, frame, want string }{
		{"older than frames with a version", "\x00\x00\x00\x25{\"from", "is not hm, or a version of hm that is too old"},
		{"another version", "hm\x02\x00\x00\x00\x00\x02{}", "version 2"},
		{"half a head", "hm", "ends early"},
		{"100 MB", "hm\x01\x00\x06\x40\x00\x00", "104857600 bytes"},
		{"empty", "hm\x01\x00\x00\x00\x00\x00", "0 bytes"},
		{"cut off", "hm\x01\x00\x00\x00\x00\x10{", "ends early"},
		{"no JSON", string(frame("garbage")), "a peer's message"},
		{"an array", string(frame("[]")), "a peer's message"},
		{"no sender", string(frame(`{"state":"leader"}`)), "from"},
		{"a time out of range", string(frame(`{"from":"a","state":"leader","time":-1}`)), "time is -1"},
		{"a time of a leader out of range", string(frame(`{"from":"a","state":"leader","clock_told":9000000000000}`)), "clock_told is 9000000000000"},
		{"no state", string(frame(`{"from":"a"}`)), "state"},
		{"a long text", string(frame(`{"from":"a","state":"leader","info":{"version":"` + strings.Repeat("x", 2000) + `"}}`)), "longer"},
		{"a negative number", string(frame(`{"from":"a","state":"leader","info":{"desired_read_apps":-1}}`)), "it must be between"},
		{"an age in the future", string(frame(`{"from":"a","state":"leader","info":{"nats_proved_ms":-1}}`)), "nats_proved_ms is -1"},
		{"an age that is too high", string(frame(`{"from":"a","state":"leader","info":{"handed_over_ms":4398046511105}}`)), "handed_over_ms"},
		{"another age that is too high", string(frame(`{"from":"a","state":"leader","info":{"handing_over_ms":4398046511105}}`)), "handing_over_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := readMessage(strings.NewReader(tt.frame)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one that says %q", err, tt.want)
			}
		})
	}
	if _, err := readMessage(bytes.NewReader(frame(`{"from":"a","state":"leader","new":{"x":1}}`))); err != nil {
		t.Errorf("a field that a newer peer sends is refused: %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(frame(`{"from":"a","state":"leader","term":1,"info":{"api":"x","nats_up":true}}`))
	f.Add(frame(`{"from":"a","state":"follower","info":{"nats_proved_ms":250,"handed_over_ms":4000}}`))
	f.Add(frame(`{}`))
	f.Add([]byte("hm\x02\x00\x00\x00\x00\x02{}"))
	f.Add([]byte{'h', 'm', 1, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeMessage(&out, m); err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", m, err)
		}
		again, err := readMessage(&out)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v reads as %+v: %v", m, again, err)
		}
	})
}
