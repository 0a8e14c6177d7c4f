package api

import (
	"net/http"
	"strings"
	"time"

	"hm/internal/access"
)

// operation is one thing that the API can be asked: the table of them registers the routes, says which parameters each
// accepts, bounds them, and is what openapi.yaml is made of.
type operation struct {
	pattern string // of http.ServeMux: METHOD PATH
	serve   endpoint
	class   class
	role    access.Role // that it needs; None: read for a GET, admin for everything else
	id      string      // operationId
	about   string      // what the answer is, in a line
	more    string      // what else there is to know about it
	params  []parameter
	media   string // of the request's body, if that is no JSON
	body    any    // zero value of the type of the request's body; nil: none
	answers []answered
}

// needs gives the role that it needs.
func (o *operation) needs() access.Role {
	switch {
	case o.class == classProbe:
		return access.None
	case o.role != access.None:
		return o.role
	case strings.HasPrefix(o.pattern, http.MethodGet+" "):
		return access.Read
	}
	return access.Admin
}

// query gives the parameters of the query.
func (o *operation) query() (params []parameter) {
	for _, p := range o.params {
		if !strings.Contains(o.pattern, "{"+p.name+"}") {
			params = append(params, p)
		}
	}
	return params
}

// parameter is one parameter of a query or of a path.
type parameter struct {
	name   string
	schema map[string]any
	about  string
	many   bool   // it may be given several times
	wrong  string // a value that is refused, for the tests
}

// answered is one answer that an operation may give. Problems are listed by status alone.
type answered struct {
	status int
	media  string
	value  any      // zero value of the type of the answer; nil: no JSON
	about  string   // empty: the operation's
	header []string // names of headers beside those of the basis
}

func integer(min, max, usual int) map[string]any {
	s := map[string]any{"type": "integer", "minimum": min, "maximum": max}
	if usual > 0 {
		s["default"] = usual
	}
	return s
}

func textOf(max int) map[string]any { return map[string]any{"type": "string", "maxLength": max} }

func oneOf(words ...string) map[string]any { return map[string]any{"type": "string", "enum": words} }

func boolean(usual bool) map[string]any { return map[string]any{"type": "boolean", "default": usual} }

var (
	limitParam = parameter{name: "limit", schema: integer(1, maxPage, defaultPage), wrong: "0",
		about: "How many items the page has at most."}
	cursorParam = parameter{name: "cursor", schema: textOf(maxCursor), wrong: "!",
		about: "The cursor of the page, from the header X-Hm-Next-Cursor of the page before. It belongs to the same parameters."}
	indexParam = parameter{name: "index", schema: integer(0, 65535, 0), wrong: "-1", about: "Only this index of the app."}
	appParam   = parameter{name: "app", schema: textOf(200), wrong: "nosuchapp",
		about: "Only this app, by its guid or by the beginning of it."}
	sinceParam = parameter{name: "since", schema: textOf(64), wrong: "yesterday",
		about: "Only from this time on: RFC 3339, or a duration before now like 1h30m."}
)

// listParams are the parameters that select and order a list with fields.
func listParams[T any](of string, fields []field[T], more ...parameter) []parameter {
	var filters, sorts []string
	for i := range fields {
		f := &fields[i]
		kind := "text"
		switch {
		case f.words != nil:
			kind = strings.Join(f.words, ", ")
		case f.duration:
			kind = "a duration"
		case f.number != nil:
			kind = "a number"
		}
		if f.texts != nil || f.number != nil {
			filters = append(filters, "- `"+f.name+"` ("+kind+"): "+f.about+".")
		}
		if f.sorts() != nil || f.natural {
			sorts = append(sorts, f.name)
		}
	}
	return append([]parameter{
		{name: "prefix", schema: textOf(maxPrefix), wrong: strings.Repeat("a", maxPrefix+1), about: "Only items whose " + of + " begins with this."},
		{name: "filter", schema: textOf(maxFilter), wrong: "nosuchfield=1",
			about: "Only items for which all of these conditions hold, with commas between them: FIELD OPERATOR VALUE, without spaces. " +
				"The operators are = and !=, and for numbers and durations also <, <=, > and >=. A text may be several with | between them, " +
				"and one that ends with * stands for all that begin so. Fields:\n\n" + strings.Join(filters, "\n")},
		{name: "sort", schema: textOf(64), wrong: "nosuchfield",
			about: "The field by which the list is sorted, with - before it to begin with the largest: " + strings.Join(sorts, ", ") + "."},
		limitParam, cursorParam,
	}, more...)
}

func listAnswer(item any, headers ...string) answered {
	return answered{status: http.StatusOK, media: jsonType, value: item, header: append([]string{headerTotal, headerCursor, "Link", "ETag"}, headers...)}
}

func jsonAnswer(status int, value any, headers ...string) answered {
	return answered{status: status, media: jsonType, value: value, header: headers}
}

func problems(statuses ...int) (out []answered) {
	for _, status := range statuses {
		out = append(out, answered{status: status, media: problemType, value: Problem{}})
	}
	return out
}

var notModified = answered{status: http.StatusNotModified, about: "The answer is as the one with the tag in If-None-Match, but for the basis and when DEAs were last heard."}

func with(first []answered, more ...answered) []answered { return append(first, more...) }

const jsonType = "application/json"

// operations lists everything that the API can be asked, but for the pages for people.
func (s *Server) operations() []operation {
	notFoundHere, ambiguousHere := http.StatusNotFound, http.StatusConflict
	read := []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable}
	reads := func(more ...int) []answered { return problems(append(more, read...)...) }
	writes := func(more ...int) []answered {
		return problems(append(append(more, http.StatusForbidden, http.StatusBadGateway, http.StatusGatewayTimeout), read...)...)
	}
	id := func(of string) parameter { return parameter{name: of, schema: textOf(200)} }
	guid := parameter{name: "guid", schema: textOf(200), about: "Guid of the app, or the beginning of it if only one app begins so."}
	return []operation{
		{pattern: "GET /v1/status", serve: s.status, class: classRead, id: "status", about: "Is anything wrong, and what does hm do about it?",
			more: "Every node answers from its own replica; a node whose record is faulty answers, too.", answers: with(problems(400, 500, 503), jsonAnswer(200, Status{}))},
		{pattern: "GET /v1/drift", serve: s.unlessFaulty(s.drift), class: classList, id: "drift", about: "Every difference between the desired and the actual state, most urgent first.",
			params:  listParams("app", driftFields, appParam, parameter{name: "kind", schema: oneOf(kindWords()...), wrong: "mising", about: "Only this kind of drift."}),
			answers: with(reads(notFoundHere, ambiguousHere), listAnswer([]DriftItem{}, headerGate), notModified)},
		{pattern: "GET /v1/apps", serve: s.unlessFaulty(s.apps), class: classList, id: "apps", about: "Every recorded app in each version, by guid and version.",
			params: listParams("app", appFields), answers: with(reads(), listAnswer([]AppItem{}), notModified)},
		{pattern: "GET /v1/apps/{guid}", serve: s.unlessFaulty(s.app), class: classRead, id: "app", about: "Everything that is recorded of an app.",
			params: []parameter{guid, indexParam}, answers: with(reads(notFoundHere, ambiguousHere), jsonAnswer(200, App{}, "ETag"), notModified)},
		{pattern: "GET /v1/apps/{guid}/explain", serve: s.unlessFaulty(s.explain), class: classRead, id: "explain", about: "What hm does about an app and why, or why it does nothing.",
			params: []parameter{guid, indexParam}, answers: with(reads(notFoundHere, ambiguousHere), jsonAnswer(200, Explanation{}, "ETag"), notModified)},
		{pattern: "GET /v1/deas", serve: s.unlessFaulty(s.deas), class: classList, id: "deas", about: "Every recorded DEA, also those that are gone, by id.",
			params: listParams("id", deaFields), answers: with(reads(), listAnswer([]DEA{}), notModified)},
		{pattern: "GET /v1/deas/{id}", serve: s.unlessFaulty(s.dea), class: classRead, id: "dea", about: "A DEA with its instances.",
			params:  []parameter{{name: "id", schema: textOf(200), about: "Id of the DEA, or the beginning of it if only one DEA begins so."}},
			answers: with(reads(notFoundHere, ambiguousHere), jsonAnswer(200, DEA{}, "ETag"), notModified)},
		{pattern: "GET /v1/commands", serve: s.unlessFaulty(s.commands), class: classList, id: "commands", about: "The outstanding commands by app and index, and with history those that ended, newest first.",
			params: listParams("id", commandFields, appParam,
				parameter{name: "history", schema: integer(0, maxPage, 0), wrong: "-1", about: "After the last outstanding command, also those of the newest so many that ended that prefix and filter select."},
				parameter{name: "outstanding", schema: boolean(true), wrong: "maybe", about: "false leaves out the outstanding commands."}),
			answers: with(reads(notFoundHere, ambiguousHere), listAnswer([]Command{}))},
		{pattern: "GET /v1/commands/compare", serve: s.unlessFaulty(s.compare), class: classList, id: "compare", about: "What hm decided beside what another health manager published.",
			params: []parameter{sinceParam, {name: "class", schema: oneOf("both", "only-hm", "only-other", "hindsight", "open", "unknown"), wrong: "all", about: "Only items of this class; the summary is of all."},
				{name: "limit", schema: integer(1, maxPage, maxPage), wrong: "0", about: "Only so many items, the newest."}},
			answers: with(reads(), jsonAnswer(200, Comparison{}))},
		{pattern: "DELETE /v1/commands/{id}", serve: s.write(s.cancelCommand), class: classWrite, id: "cancelCommand", about: "Drops a command that is not claimed yet.",
			more: "While the drift remains, hm schedules a new command with its full grace.", params: []parameter{id("id")},
			answers: with(writes(notFoundHere, ambiguousHere), jsonAnswer(200, Command{}))},
		{pattern: "GET /v1/holds", serve: s.unlessFaulty(s.holds), class: classRead, id: "holds", about: "The recorded holds, by name.",
			params: listParams("name", holdFields), answers: with(reads(), listAnswer([]Hold{}))},
		{pattern: "POST /v1/holds", serve: s.write(s.setHold), class: classWrite, id: "setHold", about: "Sets a hold, which keeps hm from sending commands.",
			more: "It replaces a hold of the same name. The hold named paused is what hm pause sets.", body: HoldRequest{},
			answers: with(writes(http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), jsonAnswer(201, Hold{}))},
		{pattern: "DELETE /v1/holds/{name}", serve: s.write(s.releaseHold), class: classWrite, id: "releaseHold", about: "Releases a hold.",
			params:  []parameter{id("name"), {name: "by", schema: textOf(maxText), wrong: strings.Repeat("a", maxText+1), about: "Who asks; added to the user that authenticated, if there is one."}},
			answers: with(writes(notFoundHere), answered{status: 204, about: "It is released."})},
		{pattern: "GET /v1/cluster", serve: s.clusterStatus, class: classRead, id: "cluster", about: "The members of the cluster, how far each is behind, and how many the cluster can lose.",
			more: "Every node answers as it sees the others.", answers: with(problems(400, 500, 503), jsonAnswer(200, ClusterStatus{}))},
		{pattern: "POST /v1/cluster/add", serve: s.changeMembers(s.addMember), class: classWrite, id: "addMember", about: "Makes a node a member, or gives a member another address.",
			more: "A new member votes by itself when it has copied the record: its voter is true in GET /v1/cluster then.", body: MemberRequest{},
			answers: with(writes(http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), jsonAnswer(200, MemberChange{}))},
		{pattern: "POST /v1/cluster/remove", serve: s.changeMembers(s.removeMember), class: classWrite, id: "removeMember", about: "Makes a node no member any more.",
			more: "It is refused if the others would not be a majority that is healthy. A leader hands over first.", body: MemberRequest{},
			answers: with(writes(notFoundHere, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), jsonAnswer(200, MemberChange{}))},
		{pattern: "POST /v1/cluster/transfer", serve: s.changeMembers(s.transferLeadership), class: classWrite, id: "transferLeadership", about: "Hands the leadership to a member, or to the best one.",
			body: MemberRequest{}, answers: with(writes(notFoundHere, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType), jsonAnswer(200, MemberChange{}))},
		{pattern: "GET /v1/events", serve: s.unlessFaulty(s.events), class: classStream, id: "events", about: "What happened: a stream of server-sent events, or a list if only application/json is accepted.",
			more: "A stream sends each event with its id, its kind as the event's name and an Event as data, and now and then a comment. " +
				"A list has the newest events, or with after the first ones after it, in the order in which they happened.",
			params: []parameter{
				{name: "after", schema: textOf(64), wrong: "yesterday", about: "Only events after the one with this id. The header Last-Event-ID counts more."},
				sinceParam, appParam, {name: "dea", schema: textOf(200), wrong: "nosuchdea", about: "Only events of this DEA, by its id or by the beginning of it."},
				{name: "kind", schema: textOf(64), many: true, wrong: "weather", about: "Only events of this kind, or of kinds with this subject: dea, or dea.gone. It may be given several times."},
				{name: "follow", schema: boolean(true), wrong: "maybe", about: "false ends the stream after the events that there are. A list cannot follow."},
				{name: "limit", schema: integer(1, maxPage, defaultPage), wrong: "0", about: "How many events a list has at most; of a stream, with how many of the newest it begins."},
			},
			answers: with(reads(notFoundHere, ambiguousHere, http.StatusTooManyRequests), answered{status: 200, media: jsonType, value: []Event{}, header: []string{headerLastEvent, headerMore}},
				answered{status: 200, media: eventStream})},
		{pattern: "GET /v1/series", serve: s.unlessFaulty(s.seriesOf), class: classRead, id: "series", about: "How the counts of the fleet have changed, as the answering node saw it.",
			more:    "Each node keeps up to 2,160 samples in memory, so a node that was started again begins anew.",
			params:  []parameter{sinceParam, {name: "points", schema: integer(1, maxSeriesPoints, maxSeriesPoints), wrong: "0", about: "At most so many samples, spread evenly; the newest is among them."}},
			answers: with(reads(), jsonAnswer(200, Series{}))},
		{pattern: recordingRoute, serve: s.unlessFaulty(s.recording), class: classStream, role: access.Admin, id: "recording", about: "A recording of what the node hears, as JSON lines, until the client goes away.",
			more: "docs/recording-format.md describes it.", answers: with(reads(notFoundHere, http.StatusTooManyRequests), answered{status: 200, media: "application/jsonl"})},
		{pattern: "GET " + snapshotPath, serve: s.unlessFaulty(s.saveSnapshot), class: classStream, role: access.Admin, id: "saveSnapshot", about: "A snapshot of the node's record, as a file.",
			more:    "The file has a checksum at its end: only a whole file is a snapshot. hm snapshot inspect reads it.",
			answers: with(reads(http.StatusTooManyRequests), answered{status: 200, media: snapshotMedia})},
		{pattern: "POST " + snapshotPath, media: snapshotMedia, serve: s.writeLong(s.restoreSnapshot), class: classStream, id: "restoreSnapshot", about: "Replaces the record of the whole cluster by that of a snapshot.",
			more: "The body is a file of GET /v1/snapshot. Nothing is changed unless the whole file is right. Afterwards the gate stays shut until the nodes have a fresh picture of what runs, and have read the desired state.",
			params: []parameter{
				{name: "cluster", schema: textOf(64), wrong: "x", about: "Id of the cluster whose record is to be replaced, as the status shows it: a request for another cluster is refused."},
				{name: "foreign", schema: textOf(64), wrong: "x", about: "Id of the cluster that the snapshot is of, if that is another one; none if it had no id."},
				{name: "by", schema: textOf(maxText), wrong: strings.Repeat("a", maxText+1), about: "Who asks; added to the user that authenticated, if there is one."},
			},
			answers: with(writes(http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests), jsonAnswer(200, SnapshotRestored{}))},
		{pattern: recordingStateRoute, serve: s.unlessFaulty(s.recordingState), class: classWrite, id: "recordingState", about: "Puts the recorded state into a recording that is under way.",
			params:  []parameter{{name: "id", schema: textOf(200), about: "Id of the recording, from its header."}},
			answers: with(problems(400, 403, 404, 500, 503), answered{status: 202, about: "It comes next in the recording."})},
		{pattern: "POST " + bulkPath, serve: s.unlessFaulty(s.bulkAppState), class: classBulk, role: access.Read, id: "bulkAppState", about: "What a Cloud Controller asks of HM9000: the state of apps.",
			more: "The form of question and answer is HM9000's, and differs from the rest of this API: an error has no problem document.",
			body: []bulkQuestion{}, answers: with(problems(500, 503), answered{status: 200, media: jsonType, value: map[string]any{}}, answered{status: 400}, answered{status: 413, media: problemType, value: Problem{}})},
		{pattern: "GET /healthz", serve: s.healthz, class: classProbe, id: "healthz", about: "The process serves requests. It needs no credentials.",
			answers: []answered{{status: 200, media: "text/plain"}}},
		{pattern: "GET /readyz", serve: s.readyz, class: classProbe, id: "readyz", about: "Whether the node knows a leader, has caught up with it, and its disk answers. It needs no credentials.",
			answers: []answered{jsonAnswer(200, Readiness{}), {status: 503, media: jsonType, value: Readiness{}, about: "It is not ready."}}},
		{pattern: "GET /metrics", serve: s.metrics(), class: classScrape, id: "metrics", about: "Metrics in the text format of Prometheus; docs/metrics.md describes them.",
			answers: []answered{{status: 200, media: "text/plain"}, {status: 503, media: "text/plain", about: "Too many scrapes are under way."}}},
		{pattern: "GET /openapi.yaml", serve: serveOpenAPI, class: classRead, id: "openapi", about: "This document.",
			answers: []answered{{status: 200, media: openAPIType, header: []string{"ETag"}}, notModified}},
	}
}

// bulkQuestion is one question in the body of POST /bulk_app_state.
type bulkQuestion struct {
	Droplet string `json:"droplet"` // guid of the app
	Version string `json:"version"` // version of the app
}

// class says what a request costs. Each class has a bound on requests at a time and on the time that an answer may take
// to be read.
type class uint8

// The classes.
const (
	classProbe  class = iota // health checks
	classRead                // one object, or a few
	classList                // up to maxPage items
	classWrite               // a change of the record
	classBulk                // many apps for a Cloud Controller
	classStream              // lasts as long as the client wants; it has bounds of its own
	classScrape              // /metrics, with a bound of its own
	classPage                // a page for people
	classes
)

// classBounds are the bounds of each class. A request waits for a free slot; write is the time that the client has for
// reading the answer. 0: no bound but those of the server.
var classBounds = [classes]struct {
	name  string // the requests, for a problem
	slots int
	wait  time.Duration
	write time.Duration
}{
	classProbe:  {write: 5 * time.Second},
	classRead:   {name: "requests", slots: 64, wait: 5 * time.Second, write: 30 * time.Second},
	classList:   {name: "lists", slots: 16, wait: 5 * time.Second, write: 30 * time.Second},
	classWrite:  {name: "writes", slots: 32, wait: 5 * time.Second, write: 30 * time.Second},
	classBulk:   {name: "questions of a Cloud Controller", slots: 8, wait: 5 * time.Second, write: 30 * time.Second},
	classStream: {},
	classScrape: {},
	classPage:   {name: "pages", slots: 32, wait: 5 * time.Second, write: 30 * time.Second},
}
