package config

import (
	"fmt"
	"strings"
)

// Markdown gives docs/configuration.md, made from the table of keys. hm config docs prints it.
func Markdown() []byte {
	var b strings.Builder
	b.WriteString(docsHead)
	section := ""
	for _, k := range keys {
		if s, _, _ := strings.Cut(k.Name, "."); s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | value | meaning |\n|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, code(k.DefaultText()), cell(k.valueDoc()), cell(k.Doc+k.marks()))
	}
	b.WriteString(docsTail)
	return []byte(b.String())
}

// valueDoc describes the values that the key takes.
func (k Key) valueDoc() string {
	doc := k.limit.want
	if k.Unit != "" {
		doc += "; " + k.Unit
	}
	return doc
}

func (k Key) marks() string {
	var marks string
	if k.Secret {
		marks += " *Secret: never shown.*"
	}
	if k.NotYet {
		marks += " *Not supported yet: any value but the default is refused.*"
	}
	return marks
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

const docsHead = `<!-- Made by "hm config docs" from internal/config/keys.go. Change it there. -->

# Configuration

` + "`hm server --config FILE`" + ` reads YAML, JSON or TOML, told by the file's extension. Every key can be given in four places; the
first one that gives it wins:

1. ` + "`--set nats.servers=nats://10.0.0.1:4222,nats://10.0.0.2:4222`" + ` on the command line, as often as needed
2. the environment: the key in capitals, with ` + "`_`" + ` for the dots and ` + "`HM_`" + ` before it, such as ` + "`HM_NATS_SERVERS`" + `. An empty variable counts as not set
3. the file
4. the default

On the command line and in the environment a list is separated by commas. Durations carry their unit (` + "`500ms`, `10s`, `2m`" + `);
where the unit is heartbeats, the value is a plain number that ` + "`policy.heartbeat_period`" + ` multiplies, so that a shorter period speeds
up everything at once.

An unknown key, a bad value or an impossible combination stops the start. Everything that is wrong is said at once, each with the
key, the value and what would be right. ` + "`hm config check`" + ` does only that; ` + "`hm config print`" + ` shows what is in force and where each value
came from, with secrets masked.
`

const docsTail = `
## Combinations that are refused

- ` + "`api.listen`" + ` beyond loopback without ` + "`api.username` and `api.password`, or `api.tls.client_ca`" + `
- ` + "`heartbeats.listen`" + ` beyond loopback without ` + "`heartbeats.tls.cert` and `heartbeats.tls.key`" + `
- ` + "`raft.listen`, `raft.advertise` or an address in `raft.peers` beyond loopback without `raft.tls`, unless `raft.insecure`" + ` is true
- a certificate without its key, or the reverse; ` + "`raft.tls`" + ` without all three files; a client authority without a certificate
- a user name without its password, or the reverse; more than one of ` + "`nats.username`, `nats.token`, `nats.creds`" + ` and a user in ` + "`nats.servers`" + `
- ` + "`raft.peers`" + ` of other than 1, 3 or 5 nodes, with an id or address twice, or without ` + "`node.id`" + `; an address there that is neither
  ` + "`raft.advertise`" + ` nor, if that is empty, ` + "`raft.listen`" + `
- ` + "`raft.listen`" + ` on a wildcard without ` + "`raft.advertise`" + `, or on port 0 with peers
- ` + "`raft.election_timeout` below or `raft.lease_timeout` above `raft.heartbeat_timeout`" + `
- ` + "`commands.claim_lease` above half of `policy.grace`; `nats.ping_interval` above half of `policy.freshness` and above 1s. Only values of your own are refused: the defaults shrink" + `
- ` + "`desired.ttl` not above `desired.poll_interval`; `policy.backoff_max` below `policy.backoff_start`; `policy.starting_ttl` not above `policy.grace`" + `

## Environment variables that are no keys

` + "`HM_ADDR`" + ` names the API that the commands of the CLI ask. A variable that begins with ` + "`HM_`" + ` and looks like a key without being one stops
the start; the addresses of services that Kubernetes sets (` + "`HM_API_SERVICE_HOST`, `HM_API_PORT`" + `, ...) do not.
`
