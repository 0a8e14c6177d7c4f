package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const aboutBulk = "reads of the bulk API"

// The apps of the bulk world.
const (
	app1, version1 = "00000000-0000-4000-8000-000000000001", "10000000-0000-4000-8000-000000000001"
	app2, version2 = "00000000-0000-4000-8000-000000000002", "10000000-0000-4000-8000-000000000002"
	app3, version3 = "00000000-0000-4000-8000-000000000003", "10000000-0000-4000-8000-000000000003"
)

// entry is a row of an answer as Cloud Controllers of 2017 wrote it (D03).
func entry(guid, version string, instances int, state, packageState string) string {
	return fmt.Sprintf(`%q:{"id":%q,"instances":%d,"state":%q,"package_state":%q,"version":%q}`, guid, guid, instances, state, packageState, version)
}

// wanted is a row as hm should record it.
func wanted(guid, version string, instances int, packageState string) string {
	return fmt.Sprintf("%s %s %d %s", guid, version, instances, packageState)
}

var (
	entry1, wanted1 = entry(app1, version1, 1, "STARTED", "STAGED"), wanted(app1, version1, 1, "STAGED")
	entry2, wanted2 = entry(app2, version2, 2, "STARTED", "PENDING"), wanted(app2, version2, 2, "PENDING")
	entry3, wanted3 = entry(app3, version3, 3, "STARTED", "STAGED"), wanted(app3, version3, 3, "STAGED")
)

const (
	page0    = `{"results":{},"bulk_token":null}`
	page0Dot = `{"results":{},"bulk_token":{"id":0}}` // as from January 2017
)

func page(token string, entries ...string) string {
	return fmt.Sprintf(`{"results":{%s},"bulk_token":%s}`, strings.Join(entries, ","), token)
}

// answer is one answer of the bulk API. token is what the request must send.
type answer struct {
	token  string
	body   string
	status int // 0: 200
	header http.Header
}

// bulkCase is a way in which a Cloud Controller answers one read.
type bulkCase struct {
	id, name string
	answers  []answer
	want     []string // what is recorded after it; nil: what was before, since the read must fail
}

func ok(id, name string, want []string, answers ...answer) bulkCase {
	return bulkCase{id, name, answers, append([]string{}, want...)}
}

func fails(id, name string, answers ...answer) bulkCase { return bulkCase{id, name, answers, nil} }

// whole is a read of two answers: everything, and the end.
func whole(body string) []answer {
	return []answer{{token: "{}", body: body}, {token: `{"id":9}`, body: page0}}
}

var bulkCases = []bulkCase{
	ok("D04", "paged, as to January 2017, with memory and updated_at", []string{wanted1, wanted2, wanted3},
		answer{token: "{}", body: Page([]*Row{{app1, version1, 1, "STARTED", "STAGED", 4}, {app2, version2, 2, "STARTED", "PENDING", 7}}, false)},
		answer{token: `{"id":7}`, body: Page([]*Row{{app3, version3, 3, "STARTED", "STAGED", 9}}, false)},
		answer{token: `{"id":9}`, body: page0}),
	ok("D04", "all in one answer, as from January 2017", []string{wanted1, wanted2},
		answer{token: "{}", body: Page([]*Row{{app1, version1, 1, "STARTED", "STAGED", 4}, {app2, version2, 2, "STARTED", "PENDING", 7}}, true)},
		answer{token: `{"id":7}`, body: page0Dot}),
	ok("D05", "an end without a token", []string{wanted1, wanted3},
		answer{token: "{}", body: page(`{"id":9}`, entry1, entry3)}, answer{token: `{"id":9}`, body: `{"results":{}}`}),
	ok("D05", "an end with the token that was sent", []string{wanted1, wanted2},
		answer{token: "{}", body: page(`{"id":9}`, entry1, entry2)}, answer{token: `{"id":9}`, body: page(`{"id":9}`)}),
	ok("D01", "one app a page", []string{wanted1, wanted2, wanted3},
		answer{token: "{}", body: page(`{"id":1}`, entry1)}, answer{token: `{"id":1}`, body: page(`{"id":2}`, entry2)},
		answer{token: `{"id":2}`, body: page(`{"id":2147483648}`, entry3)}, answer{token: `{"id":2147483648}`, body: page0}),
	ok("D01", "a token with spaces", []string{wanted2, wanted3},
		answer{token: "{}", body: page("{ \"id\" :\n 9 }", entry2, entry3)}, answer{token: `{"id":9}`, body: page0}),
	ok("D01", "a token that is a text, as HealthManager 2.0 let pass", []string{wanted1, wanted2},
		answer{token: "{}", body: page(`"after & 9+"`, entry1, entry2)}, answer{token: `"after & 9+"`, body: page0}),
	ok("D03", "members that hm does not know", []string{wanted1, wanted2}, whole(
		`{"total":2,"results":{`+entry1+`,`+strings.Replace(entry2, `"id"`, `"diego":false,"routes":[{"uri":"a"},null],"id"`, 1)+`},"links":{"a":[]},"bulk_token":{"id":9}}`)...),
	ok("D03", "the token before the results", []string{wanted2, wanted3}, whole(`{"bulk_token":{"id":9},"results":{`+entry2+`,`+entry3+`}}`)...),
	ok("D03", "spaces and newlines", []string{wanted1, wanted3}, whole("\r\n"+strings.ReplaceAll(page(`{"id":9}`, entry1, entry3), ",", " ,\n\t")+"\n\n")...),
	ok("D03", "no id: the key is the guid", []string{wanted1, wanted2}, whole(page(`{"id":9}`, strings.Replace(entry1, `"id":"`+app1+`",`, "", 1), entry2))...),
	ok("D03 D24", "an id that is not the key", []string{wanted2, wanted3}, whole(page(`{"id":9}`, strings.Replace(entry3, app3, "no-such-key", 1), entry2))...),
	ok("D03", "updated_at is null", []string{wanted1, wanted2}, whole(page(`{"id":9}`, entry1, strings.Replace(entry2, `"id"`, `"updated_at":null,"memory":null,"id"`, 1)))...),
	ok("D03", "escaped names and values", []string{wanted1, wanted2}, whole(page(`{"id":9}`, entry1, strings.NewReplacer(`"state"`, `"st\u0061te"`, `"STARTED"`, `"ST\u0041RTED"`).Replace(entry2)))...),
	ok("D11", "apps that are stopped or failed to stage", []string{wanted1},
		whole(page(`{"id":9}`, entry1, entry(app2, version2, 2, "STOPPED", "STAGED"), entry(app3, version3, 2, "STARTED", "FAILED")))...),
	ok("D11 D26", "an app that is being staged", []string{wanted1, wanted(app2, version2, 4, "PENDING")},
		whole(page(`{"id":9}`, entry1, entry(app2, version2, 4, "STARTED", "PENDING")))...),
	ok("D12", "a new version of an app", []string{wanted(app1, version3, 1, "STAGED"), wanted2},
		whole(page(`{"id":9}`, entry(app1, version3, 1, "STARTED", "STAGED"), entry2))...),
	ok("D13", "no instances", []string{wanted(app1, version1, 0, "STAGED"), wanted2}, whole(page(`{"id":9}`, entry(app1, version1, 0, "STARTED", "STAGED"), entry2))...),
	ok("D04", "an app on two pages, unchanged", []string{wanted1, wanted2},
		answer{token: "{}", body: page(`{"id":1}`, entry1)}, answer{token: `{"id":1}`, body: page(`{"id":9}`, entry1, entry2)}, answer{token: `{"id":9}`, body: page0}),
	ok("D05", "a header of another type", []string{wanted1, wanted2},
		answer{token: "{}", body: page(`{"id":9}`, entry1, entry2), header: http.Header{"Content-Type": {"text/plain"}}}, answer{token: `{"id":9}`, body: page0}),
	ok("D09", "a redirect to the same host", []string{wanted1, wanted3},
		answer{token: "{}", status: http.StatusFound, header: http.Header{"Location": {"?" + url.Values{"bulk_token": {"{}"}, "batch_size": {"25"}}.Encode()}}},
		answer{token: "{}", body: page(`{"id":9}`, entry1, entry3)}, answer{token: `{"id":9}`, body: page0}),

	fails("D09", "an error on the first page", answer{token: "{}", status: http.StatusInternalServerError, body: `{"code":10001}`}),
	fails("D09", "a proxy without a server", answer{token: "{}", status: http.StatusBadGateway, body: "502 Bad Gateway: Registered endpoint failed to handle the request."}),
	fails("D09", "busy", answer{token: "{}", status: http.StatusServiceUnavailable, body: "", header: http.Header{"Retry-After": {"1"}}}),
	fails("D15", "a parameter is refused", answer{token: "{}", status: http.StatusBadRequest, body: `{"code":10006,"description":"The query parameter is invalid"}`}),
	fails("D09", "not found", answer{token: "{}", status: http.StatusNotFound, body: `{"code":10000}`}),
	fails("D09", "no content", answer{token: "{}", status: http.StatusNoContent}),
	fails("D09", "a redirect to another host", answer{token: "{}", status: http.StatusFound, header: http.Header{"Location": {"http://localhost:1/bulk/apps"}}}),
	fails("D09", "a web page", answer{token: "{}", body: "<html><body>Sign in</body></html>"}),
	fails("D09", "nothing", answer{token: "{}", body: ""}),
	fails("D09", "half an answer", answer{token: "{}", body: page(`{"id":9}`, entry1, entry2)[:200]}),
	fails("D09", "two answers", answer{token: "{}", body: page(`{"id":9}`, entry1) + page(`{"id":9}`, entry1)}),
	fails("D09", "an empty object", answer{token: "{}", body: "{}"}),
	fails("D09", "null", answer{token: "{}", body: "null"}),
	fails("D09", "an array", answer{token: "{}", body: "[]"}),
	fails("D09", "results are null", answer{token: "{}", body: `{"results":null,"bulk_token":null}`}),
	fails("D09", "results are an array", answer{token: "{}", body: `{"results":[],"bulk_token":null}`}),
	fails("R48", "an error on the second page", answer{token: "{}", body: page(`{"id":9}`, entry3)}, answer{token: `{"id":9}`, status: http.StatusInternalServerError}),
	fails("R48", "half an answer on the second page", answer{token: "{}", body: page(`{"id":9}`, entry3)}, answer{token: `{"id":9}`, body: `{"results":{`}),
	fails("D01", "rows without a token", answer{token: "{}", body: page("null", entry3)}),
	fails("D01", "a token that stays", answer{token: "{}", body: page(`{"id":9}`, entry3)}, answer{token: `{"id":9}`, body: page(`{"id":9}`, entry1)}),
	fails("D01", "a token that goes back", answer{token: "{}", body: page(`{"id":9}`, entry3)}, answer{token: `{"id":9}`, body: page(`{"id":8}`, entry1)}),
	fails("W06", "an app on two pages, changed", answer{token: "{}", body: page(`{"id":1}`, entry3)},
		answer{token: `{"id":1}`, body: page(`{"id":9}`, entry(app3, version3, 9, "STARTED", "STAGED"))}, answer{token: `{"id":9}`, body: page0}),
	fails("W06", "an app in two versions", answer{token: "{}", body: page(`{"id":1}`, entry3)},
		answer{token: `{"id":1}`, body: page(`{"id":9}`, entry(app3, version1, 3, "STARTED", "STAGED"))}, answer{token: `{"id":9}`, body: page0}),
	fails("W06", "an app twice on a page, changed", whole(page(`{"id":9}`, entry3, entry(app3, version3, 9, "STARTED", "STAGED")))...),
}

// badRows are rows of app 2 that cannot be read. What is recorded of it stays, and the others are read (W07, W49).
var badRows = map[string]string{
	"instances is a text": strings.Replace(entry2, `"instances":2`, `"instances":"2"`, 1), "instances is null": strings.Replace(entry2, `"instances":2`, `"instances":null`, 1),
	"instances below 0": strings.Replace(entry2, `"instances":2`, `"instances":-2`, 1), "instances with a fraction": strings.Replace(entry2, `"instances":2`, `"instances":2.5`, 1),
	"no instances": strings.Replace(entry2, `"instances":2,`, ``, 1), "state is a number": strings.Replace(entry2, `"STARTED"`, `1`, 1),
	"state is unknown": strings.Replace(entry2, `"STARTED"`, `"DREAMING"`, 1), "no state": strings.Replace(entry2, `"state":"STARTED",`, ``, 1),
	"package_state is null": strings.Replace(entry2, `"PENDING"`, `null`, 1), "package_state is unknown": strings.Replace(entry2, `"PENDING"`, `"BAKED"`, 1),
	"no package_state": strings.Replace(entry2, `"package_state":"PENDING",`, ``, 1), "version is null": strings.Replace(entry2, `"`+version2+`"`, `null`, 1),
	"version is a number": strings.Replace(entry2, `"`+version2+`"`, `7`, 1), "no version": strings.Replace(entry2, `,"version":"`+version2+`"`, ``, 1),
	"version is empty": strings.Replace(entry2, `"`+version2+`"`, `""`, 1), "id is a number": strings.Replace(entry2, `"id":"`+app2+`"`, `"id":2`, 1),
	"id is null": strings.Replace(entry2, `"id":"`+app2+`"`, `"id":null`, 1), "the row is a text": `"` + app2 + `":"gone"`, "the row is null": `"` + app2 + `":null`,
	"the row is an array": `"` + app2 + `":[1,{"id":"x"}]`,
}

// bulkWorld is a node that hears no DEA and reads only when it is told to (N46), from a Cloud Controller that answers by a
// script. The credentials come over NATS, from two Cloud Controllers (N45).
type bulkWorld struct {
	Check
	t *testing.T
	*world
	asked [2]atomic.Int64 // questions for credentials that each Cloud Controller answered

	mu     sync.Mutex
	now    string // what the first one answers
	before []string
}

func playBulk(t *testing.T, srv *natsServer) {
	b := &bulkWorld{t: t, Check: ledger.Check(t, aboutBulk), now: `{"user":"bulk_api","password":"bulk-password"}`}
	newWorld(t, srv, "bulk", worldSetup{
		beat: 50 * time.Millisecond, // after a failure hm reads again a period later
		sets: []string{"desired.poll_interval=9999", "desired.ttl=10000", "desired.bulk.batch_size=25", "desired.partition=east"},
		before: func(w *world) {
			b.world = w
			w.cc.Play(b.script(bulkCases[0].answers))
			if err := AnswerCredentials(w.nc, "east", 0, func() string { b.asked[0].Add(1); b.mu.Lock(); defer b.mu.Unlock(); return b.now }); err != nil {
				t.Fatal(err)
			}
			late := func() string { b.asked[1].Add(1); return `{"user":"late","password":"other"}` }
			if err := AnswerCredentials(w.nc, "east", 100*time.Millisecond, late); err != nil {
				t.Fatal(err)
			}
		},
	})
	b.await(bulkCases[0])
	b.That("N45", "questions for credentials", b.asked[0].Load() >= 1, "none came")
	for _, c := range bulkCases[1:] {
		b.play(c)
	}
	for name, row := range badRows {
		b.play(ok("D03", "all is well", []string{wanted1, wanted2, wanted3}, whole(page(`{"id":9}`, entry1, entry2, entry3))...))
		b.play(ok("W07 W49", "a row of which "+name, []string{wanted2, wanted(app3, version3, 5, "STAGED")},
			whole(page(`{"id":9}`, row, entry(app3, version3, 5, "STARTED", "STAGED")))...))
	}
	b.credentials()
	b.capitals()
	b.staleRecord()
	b.play(ok("D05", "an empty first page", []string{}, answer{token: "{}", body: page0}))
	until(t, "hm holds its commands", func() bool { return slices.Contains(b.status(t).Gate.Reasons, "hold:desired-shrink") })
	b.That("W04", "an empty first page", true, "")
}

// script answers one read after another, each from the first answer on. Requests that belong to an earlier script are
// refused.
func (b *bulkWorld) script(answers []answer) Script {
	at := -1 // no read has begun
	return func(w http.ResponseWriter, token string) {
		if token == "{}" && (at < 0 || at >= len(answers) || !sameJSON(answers[at].token, token)) {
			at = 0
		}
		if at < 0 || at >= len(answers) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		a := answers[at]
		at++
		for name, values := range a.header {
			w.Header()[name] = values
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write([]byte(a.body)) // an error shows as a failed read
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// play has one read answered as the case says.
func (b *bulkWorld) play(c bulkCase) {
	b.t.Helper()
	b.cc.Play(b.script(c.answers))
	_ = b.nc.Publish("droplet.updated", []byte(`{"droplet":"`+app1+`"}`)) // N46
	b.await(c)
}

// await waits for the end of a read that is answered as the case says, and asserts what hm asked and recorded.
func (b *bulkWorld) await(c bulkCase) {
	b.t.Helper()
	untilEvery(b.t, 10*time.Millisecond, "hm has read "+c.name, func() bool { return len(b.cc.Requests()) >= len(c.answers) })
	requests := b.cc.Requests()
	first := slices.IndexFunc(requests, func(r BulkRequest) bool { return r.Token == "{}" })
	for i, a := range c.answers {
		if first < 0 || first+i >= len(requests) {
			break
		}
		b.request(c, i, requests[first+i], a)
	}
	if c.want == nil {
		untilEvery(b.t, 10*time.Millisecond, "hm tells that it could not read "+c.name, func() bool { return b.status(b.t).Desired.Error != "" })
		b.Equal(c.id+" I6", c.name+": what is recorded", b.recordedRows(), b.before)
		return
	}
	slices.Sort(c.want)
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = b.recordedRows(); slices.Equal(got, c.want) && b.status(b.t).Desired.Error == "" {
			break
		}
	}
	b.Equal(c.id, c.name+": what is recorded", got, c.want)
	b.Equal(c.id, c.name+": error", b.status(b.t).Desired.Error, "")
	b.before = got
}

// request asserts a request for a page (D01, D02, D06).
func (b *bulkWorld) request(c bulkCase, page int, r BulkRequest, a answer) {
	b.t.Helper()
	at := fmt.Sprintf("%s: request %d", c.name, page+1)
	b.Equal("D01", at+": method and path", r.Method+" "+r.Path, "GET /bulk/apps")
	b.Equal("D06", at+": batch_size", r.BatchSize, "25")
	b.That("D01", at+": bulk_token", sameJSON(r.Token, a.token), "got %s, want %s", r.Token, a.token)
	q, err := url.ParseQuery(r.Query)
	b.That("D01", at+": parameters", err == nil && len(q) == 2 && len(q["bulk_token"]) == 1 && len(q["batch_size"]) == 1, "got %s", r.Query)
	b.Equal("D02", at+": Authorization", r.Authorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(bulkUser+":"+bulkPassword)))
}

// recordedRows gives the desired apps that hm has recorded.
func (b *bulkWorld) recordedRows() []string {
	b.t.Helper()
	var list []struct {
		App, Version string
		Desired      *struct {
			State        string
			Instances    int
			PackageState string `json:"package_state"`
		}
	}
	b.get(b.t, "/v1/apps?limit=100", &list)
	rows := []string{}
	for _, i := range list {
		if i.Desired != nil && i.Desired.State == "STARTED" && i.Desired.PackageState != "FAILED" {
			rows = append(rows, wanted(i.App, i.Version, i.Desired.Instances, i.Desired.PackageState))
		}
	}
	slices.Sort(rows)
	return rows
}

// credentials plays a Cloud Controller whose password changes (N45, D10).
func (b *bulkWorld) credentials() {
	b.t.Helper()
	rows := []string{wanted1, wanted3}
	serve := func(password string, answers []answer) Script {
		inner := b.script(answers)
		return func(w http.ResponseWriter, token string) {
			requests := b.cc.requests // the script runs under the Cloud Controller's lock
			if requests[len(requests)-1].Authorization != "Basic "+base64.StdEncoding.EncodeToString([]byte(bulkUser+":"+password)) {
				http.Error(w, `{"code":10002,"description":"Authentication error"}`, http.StatusUnauthorized)
				return
			}
			inner(w, token)
		}
	}
	renew := func(reply, password, what string) {
		b.mu.Lock()
		b.now = reply
		b.mu.Unlock()
		before := b.asked[0].Load()
		b.cc.Play(serve(password, whole(page(`{"id":9}`, entry1, entry3))))
		_ = b.nc.Publish("droplet.updated", []byte(`{"droplet":"`+app1+`"}`))
		untilEvery(b.t, 10*time.Millisecond, "hm reads with the new password", func() bool {
			return b.asked[0].Load() > before && len(b.cc.Requests()) > 2 && b.status(b.t).Desired.Error == "" && slices.Equal(b.recordedRows(), rows)
		})
		requests := b.cc.Requests()
		b.Equal("N45", what+": the token of the request after the 401", requests[1].Token, "{}")
		b.That("N45", what+": the first request", requests[0].Authorization != requests[1].Authorization, "has the new password before it was asked for")
		for i, r := range requests[1:] {
			want := "Basic " + base64.StdEncoding.EncodeToString([]byte(bulkUser+":"+password))
			b.Equal("N45 D02", fmt.Sprintf("%s: Authorization of request %d", what, i+2), r.Authorization, want)
		}
		b.Equal("N45", what+": questions for credentials", b.asked[0].Load()-before, 1)
	}
	renew(`{"user":"bulk_api","password":"second"}`, "second", "a new password")
	renew(`{"more":[1],"password":"p\u00e4ss:word","user":"bulk_api","partition":"east"}`, "päss:word", "members that hm does not know")

	for name, reply := range map[string]string{
		"nothing": "", "no JSON": "user", "an array": "[]", "null": "null", "no password": `{"user":"bulk_api"}`, "no user": `{"password":"x"}`,
		"a password that is a number": `{"user":"bulk_api","password":7}`, "an empty user": `{"user":"","password":"x"}`,
	} {
		b.mu.Lock()
		b.now = reply
		b.mu.Unlock()
		b.cc.Play(serve("third", nil))
		_ = b.nc.Publish("droplet.updated", []byte(`{"droplet":"`+app1+`"}`))
		before := b.asked[0].Load()
		untilEvery(b.t, 10*time.Millisecond, "hm has asked again after "+name, func() bool { return b.asked[0].Load() > before && b.status(b.t).Desired.Error != "" })
		b.Equal("N45", "credentials: "+name+": what is recorded", b.recordedRows(), rows)
		b.That("N45", "credentials: "+name+": error", !strings.Contains(b.status(b.t).Desired.Error, "päss"), "shows a password")
	}
	renewed := `{"user":"bulk_api","password":"` + bulkPassword + `"}`
	b.mu.Lock()
	b.now = renewed
	b.mu.Unlock()
	b.cc.Play(b.script(whole(page(`{"id":9}`, entry1, entry3))))
	untilEvery(b.t, 10*time.Millisecond, "hm reads again", func() bool { return b.status(b.t).Desired.Error == "" })
	b.That("N45", "answers of the second Cloud Controller", b.asked[1].Load() > 0, "it was not asked")
}

// capitals plays guids that the Cloud Controller writes in capitals.
func (b *bulkWorld) capitals() {
	b.t.Helper()
	guid, version := strings.ToUpper("abcdef00-0000-4000-8000-00000000000a"), strings.ToUpper("abcdef00-0000-4000-8000-00000000000b")
	b.cc.Play(b.script(whole(page(`{"id":9}`, entry(guid, version, 1, "STARTED", "STAGED"), entry1))))
	_ = b.nc.Publish("droplet.updated", []byte(`{"droplet":"`+guid+`"}`))
	var got []string
	untilEvery(b.t, 10*time.Millisecond, "hm has read the app with capitals", func() bool {
		got = b.recordedRows()
		return len(got) == 2 && strings.Contains(strings.ToUpper(got[1]), guid)
	})
	b.Equal("D03", "guids in capitals", strings.ToUpper(got[1]), strings.ToUpper(wanted(guid, version, 1, "STAGED")))
	b.before = got
}

// staleRecord asks for apps while no DEA is heard: hm does not know what runs (N38, N39, N40).
func (b *bulkWorld) staleRecord() {
	b.t.Helper()
	c := ledger.Check(b.t, aboutQuestions)
	for _, way := range ways {
		c.Equal(way.id, way.what+" while no DEA is heard", way.ask(b.t, b.world, asked(app1, version1)), "{}")
	}
	c.Equal("R44", "the gate while no DEA is heard", b.status(b.t).Gate.Open, false)
	c.Equal("R44", "commands while no DEA is heard", len(b.cc.Commands("")), 0)
}
