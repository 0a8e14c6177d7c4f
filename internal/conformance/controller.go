package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Row is an app in the Cloud Controller's database.
type Row struct {
	GUID, Version string
	Instances     int
	State         string // STARTED or STOPPED
	PackageState  string // STAGED, PENDING or FAILED

	id int
}

// Command is a message that the Cloud Controller received on hm9000.start or hm9000.stop, and what it decided.
type Command struct {
	Subject string
	Data    []byte

	Droplet, Version, Instance string
	Index                      int
	Duplicate                  bool

	Accepted bool
	Check    string // the check that decided (N26, N27)
}

// Controller is a Cloud Controller: its apps, the bulk API, and what answers hm's commands.
type Controller struct {
	User, Password string // of the bulk API

	// Start and Stop are called with each command that was accepted.
	Start, Stop func(Command)

	mu       sync.Mutex
	of2017   bool // the answers after January 2017 (D03, D04)
	rows     []*Row
	lastID   int
	commands []Command
	requests []BulkRequest
	script   Script
	posts    []Post
}

// BulkRequest is a request to GET /bulk/apps.
type BulkRequest struct {
	Method, Path, Query string
	Token               string // parameter bulk_token
	BatchSize           string // parameter batch_size
	Authorization       string
}

// Script answers a request to the bulk API in place of the database. token is the parameter bulk_token.
type Script func(w http.ResponseWriter, token string)

// Put adds an app, or changes it.
func (c *Controller) Put(r Row) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(r.GUID); i >= 0 {
		r.id = c.rows[i].id
		c.rows[i] = &r
		return
	}
	c.lastID++
	r.id = c.lastID
	c.rows = append(c.rows, &r)
}

// Delete removes an app.
func (c *Controller) Delete(guid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(guid); i >= 0 {
		c.rows = slices.Delete(c.rows, i, i+1)
	}
}

// find gives the position of an app. The Cloud Controller looks for the text of the guid as it wrote it.
func (c *Controller) find(guid string) int {
	return slices.IndexFunc(c.rows, func(r *Row) bool { return r.GUID == guid })
}

// Play makes a script answer the bulk API; nil: the database does. It forgets the requests before.
func (c *Controller) Play(s Script) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script, c.requests = s, nil
}

// Requests gives the requests to the bulk API since Play.
func (c *Controller) Requests() []BulkRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// maxRequests bounds the requests that are kept.
const maxRequests = 10_000

// ServeHTTP is the bulk API (D01 to D05, D15), and what takes commands.
func (c *Controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if strings.HasPrefix(r.URL.Path, "/internal/dea/hm9000/") {
		c.post(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) < maxRequests {
		c.requests = append(c.requests, BulkRequest{r.Method, r.URL.Path, r.URL.RawQuery, q.Get("bulk_token"), q.Get("batch_size"), r.Header.Get("Authorization")})
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	user, password, _ := r.BasicAuth()
	switch {
	case c.script != nil:
		c.script(w, q.Get("bulk_token"))
	case user != c.User || password != c.Password:
		http.Error(w, `{"code":10002,"description":"Authentication error","error_code":"CF-NotAuthenticated"}`, http.StatusUnauthorized)
	case r.URL.Path != "/bulk/apps" || r.Method != http.MethodGet:
		http.Error(w, `{"code":10000,"description":"Unknown request","error_code":"CF-NotFound"}`, http.StatusNotFound)
	case !q.Has("bulk_token") || !q.Has("batch_size"):
		http.Error(w, `{"code":10006,"description":"The query parameter is invalid","error_code":"CF-BadQueryParameter"}`, http.StatusBadRequest)
	default:
		c.page(w, q)
	}
}

func (c *Controller) page(w http.ResponseWriter, q url.Values) {
	var token struct {
		ID int `json:"id"`
	}
	size, err := strconv.Atoi(q.Get("batch_size"))
	if err != nil || json.Unmarshal([]byte(q.Get("bulk_token")), &token) != nil {
		http.Error(w, `{"code":10006,"description":"The query parameter is invalid"}`, http.StatusBadRequest)
		return
	}
	var rows []*Row
	for _, r := range c.rows {
		switch {
		case c.of2017 && token.ID > 0, !c.of2017 && (r.id <= token.ID || len(rows) == size):
		default:
			rows = append(rows, r)
		}
	}
	fmt.Fprint(w, Page(rows, c.of2017))
}

// Page gives an answer of the bulk API with rows (D03): to January 2017 with memory, updated_at and a token that is null
// on the last page, or after it.
func Page(rows []*Row, of2017 bool) string {
	var entries []string
	token := "null"
	if of2017 {
		token = `{"id":0}`
	}
	for _, r := range rows {
		more := `,"memory":256,"updated_at":"2016-05-04 10:00:00 +0000"`
		if of2017 {
			more = ""
		}
		entries = append(entries, fmt.Sprintf(`%q:{"id":%q,"instances":%d,"state":%q,"package_state":%q,"version":%q%s}`,
			r.GUID, r.GUID, r.Instances, r.State, r.PackageState, r.Version, more))
		token = fmt.Sprintf(`{"id":%d}`, r.id)
	}
	return fmt.Sprintf(`{"results":{%s},"bulk_token":%s}`, strings.Join(entries, ","), token)
}

// Respond subscribes to the commands of hm in the queue group cc (N21, N22).
func (c *Controller) Respond(nc *nats.Conn) error {
	for _, subject := range []string{"hm9000.start", "hm9000.stop"} {
		if _, err := nc.QueueSubscribe(subject, "cc", func(m *nats.Msg) { c.respond(m.Subject, m.Data) }); err != nil {
			return err
		}
	}
	return nc.Flush()
}

func (c *Controller) respond(subject string, data []byte) {
	m := struct {
		Droplet   string `json:"droplet"`
		Version   string `json:"version"`
		Instance  string `json:"instance_guid"`
		Index     int    `json:"instance_index"`
		Duplicate bool   `json:"is_duplicate"`
	}{Index: -1}
	err := json.Unmarshal(data, &m)
	cmd := Command{
		Subject: subject, Data: slices.Clone(data), Droplet: m.Droplet, Version: m.Version, Instance: m.Instance, Index: m.Index, Duplicate: m.Duplicate,
	}
	c.mu.Lock()
	var row *Row
	if i := c.find(m.Droplet); i >= 0 {
		row = c.rows[i]
	}
	act := c.Stop
	switch {
	case err != nil || m.Droplet == "" || m.Version == "" || m.Index < 0:
		cmd.Check = "malformed"
	case subject == "hm9000.start":
		act = c.Start
		cmd.Accepted, cmd.Check = allowsStart(row, cmd)
	case m.Instance == "":
		cmd.Check = "malformed"
	default:
		cmd.Accepted, cmd.Check = allowsStop(row, cmd)
	}
	c.commands = append(c.commands, cmd)
	c.mu.Unlock()
	if cmd.Accepted && act != nil {
		act(cmd)
	}
}

// allowsStart is the Cloud Controller's decision on a start (N26). row is nil if it does not know the app.
func allowsStart(row *Row, c Command) (bool, string) {
	switch {
	case row == nil:
		return false, "app unknown"
	case c.Version != row.Version:
		return false, "version differs"
	case c.Index >= row.Instances:
		return false, "index out of range"
	case row.PackageState != "STAGED":
		return false, "not staged"
	case row.State != "STARTED":
		return false, "not started"
	}
	return true, ""
}

// allowsStop is the Cloud Controller's decision on a stop (N27).
func allowsStop(row *Row, c Command) (bool, string) {
	switch {
	case row == nil:
		return true, "app unknown"
	case row.PackageState == "FAILED":
		return true, "staging failed"
	case c.Duplicate:
		return true, "is_duplicate"
	case c.Version != row.Version:
		return true, "version differs"
	case c.Index >= row.Instances:
		return true, "index out of range"
	case row.State == "STOPPED":
		return true, "app stopped"
	}
	return false, "the instance is wanted"
}

// Commands gives the commands for an app, in the order in which they came; all of them if droplet is empty.
func (c *Controller) Commands(droplet string) []Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	var of []Command
	for _, cmd := range c.commands {
		if droplet == "" || strings.EqualFold(cmd.Droplet, droplet) {
			of = append(of, cmd)
		}
	}
	return of
}

// AnswerCredentials answers requests for the credentials of the bulk API (N45). It calls asked, gives what reply says,
// and answers after delay.
func AnswerCredentials(nc *nats.Conn, partition string, delay time.Duration, reply func() string) error {
	_, err := nc.Subscribe("cloudcontroller.bulk.credentials."+partition, func(m *nats.Msg) {
		time.Sleep(delay)
		_ = m.Respond([]byte(reply())) // a lost connection shows as a missing answer
	})
	if err != nil {
		return err
	}
	return nc.Flush()
}
