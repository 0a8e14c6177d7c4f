package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const boshJob = "../../contrib/bosh/jobs/hm"

// notProperties are the keys that the templates of the BOSH job set themselves.
var notProperties = map[string]string{
	"node.id":        "hm- and the index of the instance",
	"node.data_dir":  "the persistent disk",
	"raft.listen":    "the address of the instance, with raft_port",
	"raft.advertise": "the address of the instance, with raft_port",
	"raft.peers":     "the instances that BOSH links",
}

// ownProperties are those of the BOSH job that are no keys of hm.
var ownProperties = []boshProperty{
	{"raft_port", "Port on which the nodes reach each other.", 7140},
	{"ready_within", "How long a deployment waits until a node that it has updated is ready again.", "5m"},
}

type boshProperty struct {
	name, about string
	byDefault   any // as YAML has it
}

// boshProperties gives the properties of the job: its own, and each key of hm with the same name and meaning.
func boshProperties() []boshProperty {
	list := slices.Clone(ownProperties)
	defaults := Default()
	for _, k := range Keys() {
		if notProperties[k.Name] != "" {
			continue
		}
		p := boshProperty{name: "hm." + k.Name, about: k.Doc, byDefault: k.Get(&defaults)}
		if k.Type() == "duration" {
			p.byDefault = k.DefaultText()
		}
		if isFile(k) {
			p.about += " The property has what is in the file."
		}
		list = append(list, p)
	}
	return list
}

// isFile reports whether the value of a key names a file.
func isFile(k Key) bool { return k.Want() == "a file" }

func fileKeys() (names []string) {
	for _, k := range Keys() {
		if isFile(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// boshSpec makes the spec of the job.
func boshSpec(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`---
# go test ./internal/config -update writes this file from the table of keys.
name: hm
description: A node of hm, the health manager for Cloud Foundry's DEAs

templates:
  ctl.erb: bin/ctl
  drain.erb: bin/drain
  hm.json.erb: config/hm.json
  post-start.erb: bin/post-start
  pre-start.erb: bin/pre-start
`)
	for _, name := range fileKeys() {
		fmt.Fprintf(&b, "  files/%s.erb: config/files/%s\n", name, name)
	}
	b.WriteString(`
packages:
- hm

provides:
- name: hm
  type: hm

consumes:
- name: hm_peers
  type: hm

properties:
`)
	for _, p := range boshProperties() {
		raw, err := json.Marshal(p.byDefault)
		if err != nil {
			t.Fatal(err)
		}
		about, err := json.Marshal(p.about)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %s:\n    description: %s\n    default: %s\n", p.name, about, raw)
	}
	return b.Bytes()
}

// TestBOSHSpec: the job has a property for each key, with its meaning and its default, and a file for each key that
// names one. With -update it writes them.
func TestBOSHSpec(t *testing.T) {
	want := map[string][]byte{filepath.Join(boshJob, "spec"): boshSpec(t)}
	for _, name := range fileKeys() {
		want[filepath.Join(boshJob, "templates", "files", name+".erb")] = []byte("<%= p('hm." + name + "', '') %>\n")
	}
	template := filepath.Join(boshJob, "templates", "hm.json.erb")
	have, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?s)files = %w\[\n.*?  \]`)
	want[template] = list.ReplaceAll(have, []byte("files = %w[\n    "+strings.Join(fileKeys(), "\n    ")+"\n  ]"))
	old, err := filepath.Glob(filepath.Join(boshJob, "templates", "files", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if _, wanted := want[file]; wanted {
			continue
		}
		if *update {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s is for no key: run go test ./internal/config -update", file)
	}
	for file, text := range want {
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the table of keys gives: run go test ./internal/config -update (%v)", file, err)
		}
	}
	var spec struct {
		Properties map[string]struct{ Default any }
	}
	if err := yaml.Unmarshal(want[filepath.Join(boshJob, "spec")], &spec); err != nil {
		t.Fatal(err)
	}
	if len(spec.Properties) != len(boshProperties()) {
		t.Errorf("the spec has %d properties, want %d", len(spec.Properties), len(boshProperties()))
	}
}

// deployment is what BOSH knows when it renders the templates of an instance.
type deployment struct {
	Properties map[string]any   `json:"properties"`
	Instances  []map[string]any `json:"instances"`
	Self       int              `json:"self"`
}

// rendered renders the job's templates into dir, and gives what is in hm.json.
func rendered(t *testing.T, d deployment) (tree map[string]any, dir string) {
	t.Helper()
	if _, err := exec.LookPath("ruby"); err != nil {
		if os.Getenv("HM_TEST_REQUIRE") == "all" {
			t.Fatalf("HM_TEST_REQUIRE=all asks for the Debian package ruby: %v", err)
		}
		t.Skip("the Debian package ruby is not installed")
	}
	dir = t.TempDir()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(dir, "deployment.json")
	if err := os.WriteFile(given, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ruby", "../../contrib/bosh/render.rb", boshJob, given, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("rendering: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config", "hm.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatalf("hm.json: %v\n%s", err, text)
	}
	return tree, dir
}

// setTree sets the keys of a tree in c.
func setTree(t *testing.T, c *Config, prefix string, tree map[string]any) {
	t.Helper()
	for name, value := range tree {
		key, known := KeyNamed(prefix + name)
		below, isTree := value.(map[string]any)
		switch {
		case known:
			if p := key.Set(c, value); p != nil {
				t.Error(p.Error())
			}
		case isTree:
			setTree(t, c, prefix+name+".", below)
		default:
			t.Errorf("the template sets %s, which is no key", prefix+name)
		}
	}
}

func threeInstances(self int) deployment {
	d := deployment{Properties: map[string]any{}, Self: self}
	for i := range 3 {
		d.Instances = append(d.Instances, map[string]any{
			"index": i, "id": fmt.Sprintf("guid-%d", i), "ip": fmt.Sprintf("10.0.0.%d", i+1), "address": fmt.Sprintf("q-%d.hm.bosh", i),
		})
	}
	return d
}

// set gives a deployment a property.
func (d deployment) set(name string, value any) {
	at := d.Properties
	parts := strings.Split(name, ".")
	for _, part := range parts[:len(parts)-1] {
		if at[part] == nil {
			at[part] = map[string]any{}
		}
		at = at[part].(map[string]any)
	}
	at[parts[len(parts)-1]] = value
}

// TestBOSHCluster: a manifest that says only what it must gives three nodes that know each other.
func TestBOSHCluster(t *testing.T) {
	for _, self := range []int{0, 2} {
		d := threeInstances(self)
		for _, name := range []string{"cert", "key", "ca"} {
			d.set("hm.raft.tls."+name, "-----BEGIN "+name+"-----\n")
		}
		tree, dir := rendered(t, d)
		c := Default()
		setTree(t, &c, "", tree)
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		want := Default()
		want.Node.ID = fmt.Sprintf("hm-%d", self)
		want.Node.DataDir = "/var/vcap/store/hm"
		want.Raft.Listen = fmt.Sprintf("10.0.0.%d:7140", self+1)
		want.Raft.Advertise = fmt.Sprintf("q-%d.hm.bosh:7140", self)
		want.Raft.Peers = []string{"hm-0=q-0.hm.bosh:7140", "hm-1=q-1.hm.bosh:7140", "hm-2=q-2.hm.bosh:7140"}
		at := "/var/vcap/jobs/hm/config/files/raft.tls."
		want.Raft.TLS = MutualTLS{Cert: at + "cert", Key: at + "key", CA: at + "ca"}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("node %d has %+v\nwant %+v", self, c, want)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "config/files/raft.tls.cert")); err != nil || !strings.HasPrefix(string(text), "-----BEGIN cert-----\n") {
			t.Errorf("the certificate is %q, %v", text, err)
		}
		for _, script := range []string{"ctl", "drain", "pre-start", "post-start"} {
			if out, err := exec.CommandContext(t.Context(), "bash", "-n", filepath.Join(dir, "bin", script)).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", script, err, out)
			}
		}
	}
}

// TestBOSHProperties: each property reaches its key.
func TestBOSHProperties(t *testing.T) {
	d := threeInstances(0)
	want := Default()
	for _, k := range Keys() {
		if notProperties[k.Name] != "" {
			continue
		}
		// Another value than the default, whether it fits the others or not.
		switch v := k.Get(&want).(type) {
		case bool:
			d.set("hm."+k.Name, !v)
		case int:
			d.set("hm."+k.Name, v+1)
		case float64:
			d.set("hm."+k.Name, v/2+0.25)
		case []string:
			d.set("hm."+k.Name, []string{"x", "y"})
		case string:
			d.set("hm."+k.Name, "other "+k.Name)
		default:
			d.set("hm."+k.Name, "61s")
		}
	}
	tree, _ := rendered(t, d)
	for _, k := range Keys() {
		if notProperties[k.Name] != "" {
			continue
		}
		got, given := lookUp(tree, k.Name), lookUp(d.Properties["hm"].(map[string]any), k.Name)
		if isFile(k) {
			given = "/var/vcap/jobs/hm/config/files/" + k.Name
		}
		if fmt.Sprint(got) != fmt.Sprint(given) {
			t.Errorf("%s is %v, want %v", k.Name, got, given)
		}
	}
}

func lookUp(tree map[string]any, name string) any {
	var at any = tree
	for part := range strings.SplitSeq(name, ".") {
		below, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = below[part]
	}
	return at
}
