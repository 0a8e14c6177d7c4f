package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/raftfsm"
)

// largeFleet has one app with 5,000 instances, one with 3,000, and two small ones.
func largeFleet() (w *apitest.Node, huge, large, small, other app.Key) {
	w = apitest.New()
	huge, large, small, other = apitest.Key(20, 1), apitest.Key(21, 1), apitest.Key(22, 1), apitest.Key(19, 1)
	n := 1000
	add := func(k app.Key, instances int) {
		for from := 0; from < instances; from += 500 {
			var list []actual.Instance
			for i := from; i < min(from+500, instances); i++ {
				n++
				list = append(list, apitest.Instance(k, n, uint32(i), actual.Running))
			}
			w.Must(apitest.Start.Add(time.Second), raftfsm.DEAChanges{DEA: fmt.Sprintf("0-dea-%s-%d", k.Droplet, from), Upserts: list})
		}
	}
	add(huge, 5000)
	add(large, 3000)
	add(small, 2)
	add(other, 3)
	return w, huge, large, small, other
}

// instancesIn gives how many instances of each app an answer has, by the guid of its droplet.
func instancesIn(t *testing.T, raw []byte) map[string]int {
	t.Helper()
	type object struct {
		Heartbeats []json.RawMessage `json:"instance_heartbeats"`
	}
	var apps map[string]object
	if err := json.Unmarshal(raw, &apps); err != nil {
		t.Fatalf("%.200s: %v", raw, err)
	}
	counts := map[string]int{}
	for guid, a := range apps {
		counts[guid] = len(a.Heartbeats)
	}
	return counts
}

// TestLargeAppsOverNATS: an app that does not fit into a message of the server is left out of the answer, the others
// of the question are not, and the log shows it.
func TestLargeAppsOverNATS(t *testing.T) {
	w, huge, large, small, other := largeFleet()
	whole := api.AppStateBulk(w.View(), true, wallOf(), []byte(asked(huge)))
	if len(whole) <= 1<<20 {
		t.Fatalf("5,000 instances are %d bytes, which fit into a message", len(whole))
	}
	t.Logf("5,000 instances are %d bytes, %d each", len(whole), len(whole)/5000)
	counts := func(keys ...app.Key) map[string]int {
		n := map[app.Key]int{huge: 5000, large: 3000, small: 2, other: 3}
		want := map[string]int{}
		for _, k := range keys {
			want[k.Droplet.String()] = n[k]
		}
		return want
	}
	for _, c := range []struct {
		name       string
		maxPayload int32
		bulk       []app.Key
		told       []app.Key
		single     bool // the large app's own answer fits
		metric     string
		warning    string
	}{
		{"a server that takes 1 MiB", 1 << 20, []app.Key{huge, small, large, other}, []app.Key{small, large, other}, false,
			`hm_app_state_left_out_total{subject="app.state.bulk"} 1`,
			`level=WARN msg="apps were left out of an answer, because it would have been larger than the nats server accepts" subject=app.state.bulk bytes=%d max_payload=1048576 apps=4 left_out=1 largest=` +
				huge.Droplet.String() + ` hint="raise max_payload of the nats server, or let the Cloud Controller ask POST /bulk_app_state"`},
		{"a server that takes 1 KiB", 1 << 10, []app.Key{huge, small, large, other}, []app.Key{small}, false,
			`hm_app_state_left_out_total{subject="app.state.bulk"} 3`, `subject=app.state.bulk bytes=%d max_payload=1024 apps=4 left_out=3 largest=`},
		{"a server that takes 8 MiB", 8 << 20, []app.Key{huge, small, large, other}, []app.Key{huge, small, large, other}, true,
			`hm_app_state_left_out_total{subject="app.state.bulk"} 0`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := bustest.Run(t, func(o *server.Options) { o.MaxPayload = c.maxPayload }).URL()
			a := startQueryNode(t, url, w, time.Hour)
			cc := bustest.Client(t, url)
			m, err := cc.Request("app.state.bulk", []byte(asked(c.bulk...)), 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := instancesIn(t, m.Data), counts(c.told...); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("app.state.bulk answers %v, want %v", got, want)
			}
			all := api.AppStateBulk(w.View(), true, wallOf(), []byte(asked(c.bulk...)))
			if want := api.AppStateBulk(w.View(), true, wallOf(), []byte(asked(c.told...))); string(m.Data) != string(want) {
				t.Errorf("the answer differs from that to a question for the same apps only: %.200s", m.Data)
			}
			if m, err = cc.Request("app.state", one(huge), 20*time.Second); err != nil {
				t.Fatal(err)
			}
			if want := api.AppState(w.View(), true, wallOf(), one(huge)); c.single && string(m.Data) != string(want) || !c.single && string(m.Data) != "{}" {
				t.Errorf("app.state answers %.200s", m.Data)
			}
			if _, raw := ask(t, "POST", "http://"+a.server.Addr()+"/bulk_app_state", asked(c.bulk...)); string(raw) != string(all) {
				t.Errorf("over HTTP, which has no such limit, the answer has %d bytes, want %d", len(raw), len(all))
			}
			single := `hm_app_state_left_out_total{subject="app.state"} 1`
			if c.single {
				single = strings.TrimSuffix(single, "1") + "0"
			}
			for _, want := range []string{c.metric, single} {
				if !strings.Contains(a.metrics(t), want+"\n") {
					t.Errorf("the metrics lack %s", want)
				}
			}
			log := a.log.String()
			if c.warning == "" {
				if strings.Contains(log, "left out") {
					t.Errorf("log:\n%s", log)
				}
				return
			}
			for _, want := range []string{fmt.Sprintf(c.warning, len(all)), fmt.Sprintf(`subject=app.state bytes=%d max_payload=%d apps=1 left_out=1 largest=%s `, len(api.AppState(w.View(), true, wallOf(), one(huge))), c.maxPayload, huge.Droplet)} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %s:\n%s", want, log)
				}
			}
		})
	}
}

// TestABulkAnswerFitsWhateverTheLimit: and it has as many apps as possible.
func TestABulkAnswerFitsWhateverTheLimit(t *testing.T) {
	w := apitest.Fleet()
	keys := []app.Key{apitest.Steady, apitest.Gappy, apitest.Crashy, apitest.Extra, apitest.Double, apitest.Gone, apitest.Leaving, apitest.Moved}
	all := api.AppStateBulk(w.View(), true, wallOf(), []byte(asked(keys...)))
	before := 0
	for limit := 2; limit <= len(all)+1; limit++ {
		got := api.FitBulk(w.View(), wallOf(), keys, limit)
		if len(got) > limit {
			t.Fatalf("with a limit of %d the answer has %d bytes", limit, len(got))
		}
		n := len(instancesIn(t, got))
		if n < before {
			t.Fatalf("with a limit of %d the answer has %d apps, with one byte less %d", limit, n, before)
		}
		before = n
		if limit >= len(all) && string(got) != string(all) {
			t.Fatalf("with a limit of %d of %d something was left out", limit, len(all))
		}
	}
}
