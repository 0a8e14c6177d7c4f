package replay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// drawFleet draws the recording of some minutes of a small fleet. All guids are in lower case.
func drawFleet(t *rapid.T) string {
	start := time.Date(2026, 2, 3, 9, 0, 0, 0, time.UTC)
	var b strings.Builder
	b.WriteString(`{"type":"header","format":1,"started":"2026-02-03T09:00:00Z"}` + "\n")
	at := func(second int) string { return start.Add(time.Duration(second) * time.Second).Format(time.RFC3339) }
	droplet := func(n int) string { return fmt.Sprintf("abcdef%02x-0a1b-4c5d-8e9f-00112233aabb", n) }
	version := func(n int) string { return fmt.Sprintf("fedcba98765432100123456789abcd%02x", n) }
	instance := func(n int) string { return fmt.Sprintf("deadbeef0a1b4c5d8e9f00112233ab%02x", n) }
	type entry struct {
		guid, app, version, index int
		state                     string
	}
	states := []string{"RUNNING", "RUNNING", "RUNNING", "STARTING", "CRASHED", "EVACUATING"}
	lists := make([][]entry, 3)
	pick := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	for n := range 6 {
		dea := n % len(lists)
		lists[dea] = append(lists[dea], entry{n, n / 2, 0, n % 2, "RUNNING"})
	}
	instances := []int{2, 2, 2}
	for second := 0; second < 200; second += 10 {
		if second%60 == 0 {
			var rows []string
			for a, n := range instances {
				rows = append(rows, fmt.Sprintf(`{"id":"%s","version":"%s","instances":%d,"state":"STARTED","package_state":"STAGED"}`, droplet(a), version(0), n))
			}
			fmt.Fprintf(&b, `{"t":"%s","type":"desired","apps":[%s]}`+"\n", at(second), strings.Join(rows, ","))
		}
		for d := range lists {
			var entries []string
			for _, e := range lists[d] {
				entries = append(entries, fmt.Sprintf(`{"droplet":"%s","version":"%s","instance":"%s","index":%d,"state":"%s","state_timestamp":1770109200}`,
					droplet(e.app), version(e.version), instance(e.guid), e.index, e.state))
			}
			fmt.Fprintf(&b, `{"t":"%s","type":"nats","subject":"dea.heartbeat","data":{"dea":"DEA-%d","droplets":[%s]}}`+"\n", at(second+d+1), d, strings.Join(entries, ","))
		}
		if second < 30 {
			continue
		}
		list := &lists[pick(len(lists), "dea")]
		switch change := pick(8, "change"); {
		case change == 0:
			*list = append(*list, entry{pick(12, "guid"), pick(3, "app"), pick(2, "version"), pick(3, "index"), states[pick(len(states), "state")]})
		case change == 1:
			instances[pick(3, "app")] = pick(4, "instances")
		case len(*list) == 0:
		case change == 2:
			*list = (*list)[1:]
		case change == 3:
			(*list)[0].state = states[pick(len(states), "state")]
		case change == 4:
			e := (*list)[0]
			fmt.Fprintf(&b, `{"t":"%s","type":"nats","subject":"droplet.exited","data":{"droplet":"%s","version":"%s","instance":"%s","index":%d,"reason":"%s"}}`+"\n",
				at(second+5), droplet(e.app), version(e.version), instance(e.guid), e.index, []string{"CRASHED", "DEA_SHUTDOWN", "DEA_EVACUATION", "STOPPED"}[pick(4, "reason")])
		case change == 5:
			fmt.Fprintf(&b, `{"t":"%s","type":"nats","subject":"droplet.updated","data":{"droplet":"%s"}}`+"\n", at(second+5), droplet(pick(3, "app")))
		}
	}
	return b.String()
}

// The case of guids changes nothing, even if it differs between the messages.
func TestCaseOfGUIDsChangesNothing(t *testing.T) {
	opts := optionsForTests()
	opts.Settle = 20 * opts.Reconcile.Policy.HeartbeatPeriod
	rapid.Check(t, func(t *rapid.T) {
		lower := drawFleet(t)
		mixed := recordingtest.MixCase(lower, rapid.Uint64().Draw(t, "seed"))
		want, err := Run(t.Context(), opts, recording.Text("lower", []byte(lower)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Run(t.Context(), opts, recording.Text("mixed", []byte(mixed)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.JSON(), want.JSON()) {
			t.Fatalf("the recording with mixed case\n%s\ngives\n%s\nwant\n%s", mixed, got.JSON(), want.JSON())
		}
	})
}
