package recording

import (
	"bytes"
	"encoding/json"
	"strconv"

	"hm/actual"
)

// EncodeHeartbeat encodes a heartbeat as a DEA does (N02).
func EncodeHeartbeat(hb actual.Heartbeat) []byte {
	b := append([]byte(`{"dea":`), quoted(hb.DEA)...)
	b = append(b, `,"droplets":[`...)
	for i, in := range hb.Instances {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"droplet":`...), quoted(in.App.Droplet.String())...)
		b = append(append(b, `,"version":`...), quoted(in.App.Version.String())...)
		b = append(append(b, `,"instance":`...), quoted(in.GUID.String())...)
		b = strconv.AppendUint(append(b, `,"index":`...), uint64(in.Index), 10)
		b = append(append(append(b, `,"state":"`...), in.State.String()...), '"')
		b = strconv.AppendInt(append(b, `,"state_timestamp":`...), in.Since/1000, 10)
		if ms := in.Since % 1000; ms > 0 {
			b = append(append(b, '.'), strconv.Itoa(int(1000 + ms))[1:]...)
		}
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// EncodeExit encodes a droplet.exited as a DEA does (N10).
func EncodeExit(e actual.Exit) []byte {
	b := append([]byte(`{"droplet":`), quoted(e.App.Droplet.String())...)
	b = append(append(b, `,"version":`...), quoted(e.App.Version.String())...)
	b = append(append(b, `,"instance":`...), quoted(e.Instance.String())...)
	b = strconv.AppendUint(append(b, `,"index":`...), uint64(e.Index), 10)
	b = append(append(append(b, `,"reason":"`...), e.Reason.String()...), '"')
	return append(b, '}')
}

// quoted returns s as a JSON string without the escapes for HTML.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
