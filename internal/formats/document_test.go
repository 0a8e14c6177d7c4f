package formats

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:generate go test . -run TestDocument -update

var update = flag.Bool("update", false, "write docs/formats.md anew")

const document = "../../docs/formats.md"

// The table in docs/formats.md is what this version does.
func TestDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(introduction)
	fmt.Fprintln(&b, "| format | version | where the version is | a newer hm with an older one | an older hm with a newer one |\n|---|---|---|---|---|")
	for _, f := range All() {
		if f.Key == "" || f.Version <= 0 || strings.ContainsAny(f.Where+f.Older+f.Newer, "|\n") {
			t.Errorf("the row %+v would break the table", f)
		}
		fmt.Fprintf(&b, "| %s (`%s`) | %d | %s | %s | %s |\n", f.Name, f.Key, f.Version, f.Where, f.Older, f.Newer)
	}
	b.WriteString(rest)
	if *update {
		if err := os.WriteFile(document, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(document); err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the table of formats gives (%v): run go generate ./internal/formats", document, err)
	}
	if len(Versions()) != len(All()) {
		t.Error("two formats have the same key")
	}
}

const introduction = `# Formats

<!-- Made by go generate ./internal/formats. -->

What hm stores and sends has a version. This is each format, where its version is found, and what
happens when two versions of hm meet. ` + "`hm version`" + ` prints the versions that a program knows; ` + "`hm status`" + `
shows the version of each node, and ` + "`/metrics`" + ` has them in ` + "`hm_member_info`" + `.

`

const rest = `
` + "`raft/version.json`" + ` in ` + "`node.data_dir`" + ` notes the newest version of hm that used the directory, so
that the message of a version that is too old can name the one that is needed. Nothing else depends
on it. ` + "`raft/peers.json`" + ` has a format of its own; a node ignores one that it does not know, and learns
from its peers what was in it.

## Rules for a change

- A released kind of entry never gets another field: it gets a new kind. A node refuses a record
  with a field that it does not know, because it would record less than the others.
- A kind that records nothing may be marked so that nodes skip it. Only such a kind may be proposed
  before every voter knows it.
- A new section of a snapshot, a new version of a record in it, or a new field in one, needs a new
  format of the snapshot. It is written only when the state has something of it. Such a state comes
  only from a new kind of entry, so every voter can read the snapshot by then.
- What is new in the state adds nothing to its hash while it is not set. Then versions with and
  without it can compare their states. Any other change of the hash needs a new ` + "`HashVersion`" + `.
- A field of a message between nodes that an older node may ignore needs nothing. One that an older
  node would misunderstand needs a new version of the messages, and a release that speaks both.
- Fields of the API and columns of the history are only ever added.
- What a release wrote stays readable for ever: ` + "`testdata/releases`" + ` has files of each release, which
  are never edited, and a test reads them all (` + "`go test ./internal/releases`" + `).
`
