package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// playMany asks for 20,000 apps at once, in a fleet of as many (N40).
func playMany(t *testing.T, srv *natsServer) {
	const apps, deas = 20_000, 20
	var rows []*Row
	w := newWorld(t, srv, "many", worldSetup{
		beat: time.Second, of2017: true,
		sets: []string{"desired.bulk.username=" + bulkUser, "desired.bulk.password=" + bulkPassword, "desired.poll_interval=1000", "desired.ttl=2000"},
		before: func(w *world) {
			var on []*DEA
			for range deas {
				on = append(on, w.dea(DEA2016))
			}
			w.cc.mu.Lock()
			defer w.cc.mu.Unlock()
			for i := range apps {
				r := &Row{GUID: NewUUID(), Version: NewUUID(), Instances: 1, State: "STARTED", PackageState: "STAGED", id: i + 1}
				rows = append(rows, r)
				on[i%deas].Edit(func(d *DEA) {
					d.instances = append(d.instances, &Instance{r.GUID, r.Version, NewInstanceGUID(), 0, "RUNNING", 1409784000.25})
				})
			}
			w.cc.rows = rows
		},
	})
	c := ledger.Check(t, aboutQuestions)
	var question strings.Builder
	for i, r := range rows {
		question.WriteString(map[bool]string{true: "[", false: ","}[i == 0] + asked(r.GUID, r.Version))
	}
	question.WriteByte(']')
	w.awaitGate(t)
	var found map[string]json.RawMessage
	until(t, "hm tells of 20,000 apps", func() bool {
		status, answer := w.post(t, "/bulk_app_state", question.String(), nil)
		found = nil
		return status == http.StatusOK && json.Unmarshal([]byte(answer), &found) == nil && len(found) == apps
	})
	c.Equal("N40", "20,000 apps: number of members", len(found), apps)
	for _, i := range []int{0, 1, 9_999, 19_999} {
		r := rows[i]
		c.app(fmt.Sprintf("20,000 apps: app %d", i), found[r.GUID], r.GUID, r.Version, w.listedOf(r.GUID))
	}
	for _, r := range rows {
		if !strings.HasPrefix(string(found[r.GUID]), fmt.Sprintf(`{"droplet":%q,"version":%q,"instance_heartbeats":[{`, r.GUID, r.Version)) {
			c.That("N40", "20,000 apps: "+r.GUID, false, "got %.300s", found[r.GUID])
		}
	}
	c.Equal("R01", "commands in a fleet that runs as it should", len(w.cc.Commands("")), 0)
}
