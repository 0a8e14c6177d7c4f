package words

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
)

// TestTheCloudControllerInTheStatus: whether it can be reached, and what it refuses.
func TestTheCloudControllerInTheStatus(t *testing.T) {
	at := func(d time.Duration) api.Timestamp {
		return api.Timestamp{Time: time.Unix(1_700_000_000, 0).UTC().Add(d)}
	}
	yes, no := true, false
	for _, c := range []struct {
		cc     api.CC
		leader string
		want   []string
	}{
		{api.CC{}, "hm-1", []string{"cc asked by the leader alone, http://cc"}},
		{api.CC{}, "hm-0", []string{"cc no answer yet, http://cc"}},
		{api.CC{Reachable: &yes, Since: at(-time.Minute)}, "hm-0", []string{"cc answers for 1m00s, http://cc"}},
		{api.CC{Reachable: &no, Since: at(-time.Second), Error: "no connection"}, "hm-0",
			[]string{"cc unreachable for 1.0s, http://cc", "newest request failed: no connection"}},
		{api.CC{Reachable: &yes, Since: at(-time.Minute), Refused: []api.CCRefusal{{Action: "stop", Error: "401", Since: at(-9 * time.Second), Last: at(-time.Second), Count: 3}}}, "hm-0",
			[]string{"cc answers for 1m00s, http://cc", "refused: stops for 9.0s, 3 times, last 1.0s ago: 401"}},
	} {
		c.cc.URL = "http://cc"
		s := api.Status{Node: "hm-0", Cluster: api.Cluster{Leader: c.leader}, CC: &c.cc, Basis: api.Basis{At: at(0)}}
		var got []string
		for _, l := range Status(s) {
			got = append(got, strings.TrimSpace(l.Label+" "+l.Text.Paint(nil)))
		}
		i := slices.IndexFunc(got, func(l string) bool { return strings.HasPrefix(l, "cc ") })
		if i < 0 || i+len(c.want) > len(got) || !slices.Equal(got[i:i+len(c.want)], c.want) {
			t.Errorf("%+v is told as\n%s\nwant\n%s", c.cc, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
