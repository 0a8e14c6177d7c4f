package api

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"hm/internal/access"
)

// TestOpenAPIFollowsFromTheCode: openapi.yaml is what the table of operations and the types of the answers give. Every
// field must have a comment, or a name that means the same everywhere.
func TestOpenAPIFollowsFromTheCode(t *testing.T) {
	g := &generator{t: t, comments: commentsOf(t, ".", "../cluster"), schemas: map[string]object{}}
	want := g.document()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile("openapi.yaml", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, openAPI) {
		t.Error("openapi.yaml differs from the code (go test ./internal/api -run OpenAPI -update rewrites it)")
	}
}

// object is a mapping of YAML in the order of its members.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, m := range o {
		var value yaml.Node
		if err := value.Encode(m.value); err != nil {
			return nil, err
		}
		var key yaml.Node
		key.SetString(m.key)
		if _, err := strconv.Atoi(m.key); err == nil {
			key.Style = yaml.DoubleQuotedStyle
		}
		n.Content = append(n.Content, &key, &value)
	}
	return n, nil
}

type generator struct {
	t        *testing.T
	comments map[string]string // of TYPE and TYPE.Field
	schemas  map[string]object
}

// table gives the operations. Their endpoints cannot be used: there is no node.
func table() []operation {
	return (&Server{registry: prometheus.NewRegistry()}).operations()
}

func (g *generator) document() []byte {
	paths, order := map[string]object{}, []string{}
	for _, o := range table() {
		method, path, _ := strings.Cut(o.pattern, " ")
		if paths[path] == nil {
			order = append(order, path)
		}
		paths[path] = append(paths[path], member{strings.ToLower(method), g.operation(o)})
	}
	var all object
	for _, path := range order {
		all = append(all, member{path, paths[path]})
	}
	var schemas object
	for _, name := range slices.Sorted(maps.Keys(g.schemas)) {
		schemas = append(schemas, member{name, g.schemas[name]})
	}
	out := bytes.NewBufferString("# Made from the code by a test: go test ./internal/api -run OpenAPI -update\n")
	to := yaml.NewEncoder(out)
	to.SetIndent(2)
	err := to.Encode(object{
		{"openapi", "3.1.0"},
		{"info", object{{"title", "hm"}, {"version", "1"}, {"description", introduction}, {"license", object{{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
		{"servers", []object{{{"url", "http://127.0.0.1:5155"}, {"description", "The default of api.listen."}}}},
		{"security", []object{{{"basic", []string{}}}, {{"bearer", []string{}}}, {{"certificate", []string{}}}, {}}},
		{"paths", all},
		{"components", object{
			{"securitySchemes", object{
				{"basic", object{{"type", "http"}, {"scheme", "basic"}, {"description", "api.username and api.password of an admin, api.read_username and api.read_password of a reader, if they are set."}}},
				{"bearer", object{{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}, {"description", "api.admin_token, api.read_token, or a JWT of UAA with the scope hm.admin or hm.read, if they are set."}}},
				{"certificate", object{{"type", "mutualTLS"}, {"description", "A certificate that api.tls.client_ca signed, if it is set; api.tls.admin_names and api.tls.read_names give names a role."}}},
			}},
			{"headers", headerObjects()},
			{"schemas", schemas},
		}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return out.Bytes()
}

const introduction = `The HTTP API of hm, the health manager. docs/json.md has the contract: what is stable, times, ids, errors, pages.

Every node answers reads from its own replica; writes reach the leader through any node. Every answer says on which
recorded state it rests: in the headers X-Hm-Index, X-Hm-Age-Ms, X-Hm-Leader, X-Hm-Node and X-Hm-At, objects also in
basis. Errors are problem documents (RFC 9457); any operation may also answer 401, 403, 405, 413, 414, 429 and 431.

Who may ask has a role: read, or admin, which includes read (docs/access.md). Without a configured way to authenticate
everybody is an admin. After too many wrong passwords an address gets 429 for a while.
Clients must accept fields that this document does not name.`

func headerObjects() object {
	h := func(name, kind, about string) member {
		return member{name, object{{"description", about}, {"schema", object{{"type", kind}}}}}
	}
	return object{
		h(headerIndex, "integer", "Raft index of the newest entry in the recorded state that was read."),
		h(headerAge, "integer", "Milliseconds since the node last heard from the leader; 0 on the leader, -1 if it never did."),
		h(headerLeader, "string", "Id of the leader; empty if none is known."),
		h(headerNode, "string", "Id of the node that answered."),
		h(headerAt, "string", "When it answered, by its wall clock: RFC 3339."),
		h(headerGate, "string", "open, or the reasons of the closed gate with commas between them."),
		h(headerTotal, "integer", "Items of the whole list."),
		h(headerCursor, "string", "The cursor of the next page; missing on the last one."),
		h(headerLastEvent, "string", "The id up to which the answer has the history."),
		h(headerMore, "string", "true if the history has further events that were asked for."),
		h("Link", "string", "The address of the next page, with rel=next; missing on the last one."),
		h("ETag", "string", "Tag of the answer for If-None-Match; it does not change with the basis alone."),
		h("Retry-After", "integer", "Seconds after which to ask again."),
	}
}

var basisHeaders = []string{headerIndex, headerAge, headerLeader, headerNode, headerAt}

func (g *generator) operation(o operation) object {
	out := object{{"operationId", o.id}, {"summary", o.about}}
	needs := "It needs the role " + o.needs().String() + "."
	if o.needs() == access.None {
		needs = "It needs no role."
		out = append(out, member{"security", []object{{}}})
	}
	if o.more != "" {
		needs = o.more + " " + needs
	}
	out = append(out, member{"description", needs})
	var params []object
	for _, p := range o.params {
		in, about := "query", p.about
		if strings.Contains(o.pattern, "{"+p.name+"}") {
			in = "path"
		}
		if about == "" {
			about = strings.ToUpper(p.name[:1]) + p.name[1:] + "."
		}
		schema := plain(p.schema)
		if p.many {
			schema = object{{"type", "array"}, {"items", schema}}
		}
		params = append(params, object{{"name", p.name}, {"in", in}, {"required", in == "path"}, {"description", about}, {"schema", schema}})
	}
	for _, a := range o.answers {
		if a.status == http.StatusNotModified {
			params = append(params, object{{"name", "If-None-Match"}, {"in", "header"}, {"required", false}, {"description", "Tags of answers that the client has."}, {"schema", object{{"type", "string"}}}})
		}
	}
	if params != nil {
		out = append(out, member{"parameters", params})
	}
	if o.media != "" {
		out = append(out, member{"requestBody", object{{"required", true}, {"content", object{{o.media, object{}}}}}})
	}
	if o.body != nil {
		out = append(out, member{"requestBody", object{{"required", true}, {"content", object{{jsonType, object{{"schema", g.schema(reflect.TypeOf(o.body))}}}}}}})
	}
	byStatus := map[int][]answered{}
	for _, a := range o.answers {
		byStatus[a.status] = append(byStatus[a.status], a)
	}
	var responses object
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		responses = append(responses, member{strconv.Itoa(status), g.response(o, byStatus[status])})
	}
	responses = append(responses, member{"default", g.response(o, []answered{{media: problemType, value: Problem{}, about: "Any other error."}})})
	return append(out, member{"responses", responses})
}

func (g *generator) response(o operation, list []answered) object {
	about := list[0].about
	if about == "" {
		about = o.about
		if list[0].status >= 400 {
			about = http.StatusText(list[0].status)
		}
	}
	out := object{{"description", about}}
	var headers, content object
	add := func(names ...string) {
		for _, name := range names {
			headers = append(headers, member{name, object{{"$ref", "#/components/headers/" + name}}})
		}
	}
	for _, a := range list {
		if a.status < 300 && a.media != "" && o.class != classProbe && o.class != classScrape && o.class != classBulk && a.media != openAPIType {
			add(basisHeaders...)
		}
		add(a.header...)
		if a.media == problemType && a.status == http.StatusServiceUnavailable {
			add("Retry-After")
		}
		switch {
		case a.media == "":
		case a.value == nil:
			content = append(content, member{a.media, object{{"schema", object{{"type", "string"}}}}})
		default:
			content = append(content, member{a.media, object{{"schema", g.schema(reflect.TypeOf(a.value))}}})
		}
	}
	if headers != nil {
		slices.SortStableFunc(headers, func(a, b member) int { return strings.Compare(a.key, b.key) })
		out = append(out, member{"headers", slices.CompactFunc(headers, func(a, b member) bool { return a.key == b.key })})
	}
	if content != nil {
		out = append(out, member{"content", content})
	}
	return out
}

// plain puts the members of a schema into an order.
func plain(schema map[string]any) (out object) {
	for _, key := range []string{"type", "enum", "minimum", "maximum", "maxLength", "default"} {
		if v, ok := schema[key]; ok {
			out = append(out, member{key, v})
		}
	}
	return out
}

var timestampType = reflect.TypeFor[Timestamp]()

// schema gives the schema of a type. A struct becomes a component.
func (g *generator) schema(t reflect.Type) object {
	switch {
	case t == timestampType:
		return object{{"type", []string{"string", "null"}}, {"format", "date-time"}}
	case t.Kind() == reflect.Pointer:
		return g.schema(t.Elem())
	case t.Kind() == reflect.Slice:
		return object{{"type", "array"}, {"items", g.schema(t.Elem())}}
	case t.Kind() == reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{{"type", "object"}}
		}
		return object{{"type", "object"}, {"additionalProperties", g.schema(t.Elem())}}
	case t.Kind() == reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if g.schemas[name] == nil {
			g.schemas[name] = object{} // it may refer to itself
			g.schemas[name] = g.structSchema(t)
		}
		return object{{"$ref", "#/components/schemas/" + name}}
	case t.Kind() == reflect.String:
		return object{{"type", "string"}}
	case t.Kind() == reflect.Bool:
		return object{{"type", "boolean"}}
	case t.Kind() == reflect.Float64:
		return object{{"type", "number"}}
	case t.Kind() == reflect.Uint32 || t.Kind() == reflect.Uint64:
		return object{{"type", "integer"}, {"minimum", 0}}
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		return object{{"type", "integer"}}
	}
	g.t.Fatalf("no schema for %v", t)
	return nil
}

func (g *generator) structSchema(t reflect.Type) object {
	var properties object
	required := []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		schema := g.schema(f.Type)
		if f.Type.Kind() == reflect.Pointer && !optional {
			if kind, ok := schema[0].value.(string); ok && schema[0].key == "type" {
				schema[0].value = []string{kind, "null"}
			} else {
				schema = object{{"oneOf", []object{schema, {{"type", "null"}}}}}
			}
		}
		schema = append(schema, member{"description", g.about(t, f.Name, name, f.Type)})
		properties = append(properties, member{name, schema})
		if !optional {
			required = append(required, name)
		}
	}
	out := object{{"type", "object"}}
	if text := g.comments[t.Name()]; text != "" {
		out = append(out, member{"description", sentence(text)})
	}
	return append(out, member{"required", required}, member{"properties", properties})
}

// everywhere has fields whose names mean the same in every answer.
var everywhere = map[string]string{
	"app": "Guid of the app (Cloud Foundry's droplet).", "version": "Version of the app.", "index": "Index of the instance, from 0.",
	"instance": "Guid of the instance; empty if there is none.", "dea": "Id of the DEA.", "action": "start, stop or none: what hm does, or will do.",
	"rule": "Id of the rule that decides (docs/rules.md).", "rule_text": "What the rule says.", "command": "Id of the outstanding command.",
	"basis": "The recorded state on which the answer rests.", "gate": "Whether commands may be sent.", "id": "Id.", "reason": "Why.",
	"error": "The error, for people.", "detail": "More about it, for people.", "subject": "The NATS subject.", "name": "Name.",
	"drift": "Findings of drift.", "desired": "What the Cloud Controller wants of it; null if it is not in the desired state.",
	"held_by": "The reasons of the closed gate; empty if it is open.", "instances": "Number of instances, or the instances.",
	"starting": "Instances that start.", "running": "Instances that run.", "crashed": "Instances that have crashed, or findings about them.",
	"evacuating": "Instances that evacuate, or findings about them.", "missing": "Findings about indices without an instance.",
	"extra": "Findings about instances at an index that is not desired.", "duplicate": "Findings about a second instance at an index.",
	"undesired": "Findings about instances of an app that is not desired.", "crashes": "Crash records.", "commands": "Outstanding commands.",
	"connected": "The link to NATS is up.", "outages": "How often the link went down.", "fresh": "It is new enough to act on.",
	"nats": "The answering node's link to NATS.", "node": "Id of the node that answered.", "cluster": "The Raft cluster.",
	"actual": "The recorded actual state.", "queue": "What hm still has to do.", "holds": "The holds that are set.",
	"term": "Raft term.", "address": "Address of its Raft port.", "voter": "It votes in the Raft cluster.", "healthy": "It answers.",
	"source": "Where the desired state comes from.", "open": "Commands may be sent.", "by": "Who asked for it.", "set_at": "When it was set.",
	"versions": "Each recorded version of the app.", "counts": "Instances by state, or what an event counts.", "truncated": "More than are listed.",
	"priority":   "Share of the desired instances that is missing, from 0 to 1; 2 for an evacuation.",
	"created_at": "When it was scheduled.", "due_at": "When it is due.", "sent_at": "When it was sent; null if it was not.",
	"ended_at": "When it ended; null if it has not.", "due": "When hm acts on it.", "due_in_ms": "Time until then.", "first": "The first.",
	"last": "The last.", "state": "State.", "findings": "What hm decides.", "indices": "Each index that is desired or has an instance.",
	"waits_for": "What it waits for, for people.", "why": "Why, for people.", "at": "When.", "kind": "What it is.",
	"both": "Issued by both.", "only_hm": "Issued only by hm.", "only_other": "Issued only by the other.", "since": "Since when.",
	"until": "Until when.", "from": "From when.", "repeats": "How often it was issued again.", "delay_ms": "How much earlier hm was; below 0 it was later.",
	"min_ms": "Smallest delay.", "max_ms": "Largest delay.", "p10_ms": "10th percentile of the delays.", "median_ms": "Median of the delays.",
	"p90_ms": "90th percentile of the delays.", "delay": "How much earlier hm was.", "by_action": "The same by action.",
	"sent_starts": "Start commands that were ever sent.", "sent_stops": "Stop commands that were ever sent.",
	"pending_starts": "Start commands that are not sent yet.", "pending_stops": "Stop commands that are not sent yet.",
	"summary": "Counts of all that were compared.", "listening": "How well the node hears the other.", "hm": "hm's side.", "other": "The other's side.",
	"hm_repeats": "How often hm issued a command again.", "other_repeats": "How often the other issued a command again.",
	"ready": "It is ready.", "title": "The status in words.", "status": "The HTTP status.", "gaps": "Gaps.", "now": "It hears the other now.",
	"deas": "DEAs.", "dea_count": "DEAs.", "reads": "Reads of the desired state.", "began": "When it began.", "applied_index": "Index of the newest entry that it has applied.",
	"desired_fresh": "The desired state is new enough to act on.", "actual_fresh": "The actual state is new enough to act on.",
	"api": "Address of its API.", "count": "How many instances.",
}

// about gives the description of a field, with its unit.
func (g *generator) about(t reflect.Type, field, name string, kind reflect.Type) string {
	text := g.comments[t.Name()+"."+field]
	if text == "" {
		text = everywhere[name]
	}
	if text == "" {
		g.t.Errorf("the field %s.%s (%s) has no comment", t.Name(), field, name)
	}
	text = sentence(text)
	if strings.HasSuffix(name, "_ms") && !strings.Contains(text, "illisecond") {
		text += " In milliseconds."
	}
	if kind == timestampType && !strings.Contains(text, "null") {
		text += " Null for never."
	}
	return text
}

// sentence makes a sentence of a comment.
func sentence(text string) string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\n", " "))
	if text == "" {
		return ""
	}
	if !unicodeUpperName.MatchString(text) {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// unicodeUpperName matches texts that begin with a word of the API, like "start or stop" does not.
var unicodeUpperName = regexp.MustCompile(`^(hm|keep,|start,|missing,|open,|both,|pending,|gone )`)

// commentsOf gives the comments of the types in some folders, and of their fields.
func commentsOf(t *testing.T, dirs ...string) map[string]string {
	comments := map[string]string{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				d, ok := n.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range d.Specs {
					typ, ok := spec.(*ast.TypeSpec)
					if !ok {
						continue
					}
					s, ok := typ.Type.(*ast.StructType)
					if !ok {
						continue
					}
					comments[typ.Name.Name] = d.Doc.Text() + typ.Doc.Text()
					for _, f := range s.Fields.List {
						for _, name := range f.Names {
							comments[typ.Name.Name+"."+name.Name] = strings.TrimSpace(f.Doc.Text() + f.Comment.Text())
						}
					}
				}
				return false
			})
		}
	}
	return comments
}

// TestEveryProblemIsNamed: the types of problem documents that the code makes are those that the description of
// Problem.type has.
func TestEveryProblemIsNamed(t *testing.T) {
	made := map[string]bool{}
	files, _ := filepath.Glob("*.go")
	find := regexp.MustCompile(`problem\(http\.Status\w+, "([a-z-]+)"`)
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			for _, m := range find.FindAllSubmatch(raw, -1) {
				made[string(m[1])] = true
			}
		}
	}
	for _, kind := range []string{"store-damaged", "state-differs", "healing"} { // the kinds of cluster.Fault
		made[kind] = true
	}
	about := commentsOf(t, ".")["Problem.Type"]
	for slug := range made {
		if !regexp.MustCompile(`\b` + slug + `\b`).MatchString(about) {
			t.Errorf("the comment of Problem.Type lacks %s", slug)
		}
	}
	_, list, _ := strings.Cut(about, "SLUG, one of")
	for slug := range strings.FieldsFuncSeq(list, func(r rune) bool { return strings.ContainsRune(" ,.\n", r) }) {
		if slug != "or" && !made[slug] {
			t.Errorf("the comment of Problem.Type names %s, which nothing makes", slug)
		}
	}
}
