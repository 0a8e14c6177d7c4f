package fleet

import (
	"testing"

	"hm/internal/app"
)

func TestHeartbeatEncoding(t *testing.T) {
	p := &presence{droplet: app.MustGUID("11111111-2222-3333-4444-555555555555")}
	quoted := &presence{droplet: app.MustGUID(`a"b\c`)}
	d := &dea{id: "0-abc"}
	got := appendHeartbeat(nil, `"zone 1"`, d.id, []*instance{
		{guid: app.MustGUID("0123456789abcdef0123456789abcdef"), app: p, version: app.MustGUID("v1"), index: 3,
			state: 2, since: 1389380134483760, dea: d},
		{guid: app.MustGUID("x"), app: quoted, version: app.MustGUID("v2"), index: 0, state: 4, since: 1389380134000000,
			dea: d},
	})
	want := `{"droplets":[` +
		`{"cc_partition":"zone 1","droplet":"11111111-2222-3333-4444-555555555555","version":"v1","instance":"0123456789abcdef0123456789abcdef","index":3,"state":"RUNNING","state_timestamp":1389380134.48376},` +
		`{"cc_partition":"zone 1","droplet":"a\"b\\c","version":"v2","instance":"x","index":0,"state":"EVACUATING","state_timestamp":1389380134.0}],"dea":"0-abc"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
