package importlaw

// law is one rule: the packages that match of must not reach what matches never, neither by an import of their own
// nor through other packages of this module.
type law struct {
	of     []string // packages of this module, by path below its root; "x/..." takes in x and everything below it
	never  []string // import paths; "x/..." likewise
	except []string // import paths that may be reached, packages that are not bound, or files whose imports do not count
	direct bool     // only what a package imports itself counts
	why    string
}

var models = []string{"desired", "actual", "commands"}

// pure are the packages that have no I/O, clock, lock or goroutine.
var pure = append([]string{"internal/app", "diff", "commands/compare"}, models...)

// tools are small packages that know nothing of hm. Laws about packages of hm let them pass.
var tools = []string{"internal/boltfile", "internal/config/limits", "internal/jsonlex", "internal/notify", "internal/sampled", "internal/tlsfiles"}

var impure = []string{
	"context", "log/...", "sync/...", "os/...", "net/...", "io/fs", "io/ioutil", "database/...", "math/rand/...",
	"crypto/rand", "runtime/...", "github.com/nats-io/...", "github.com/hashicorp/...", "go.etcd.io/...",
	"github.com/spf13/...", "modernc.org/...", "google.golang.org/...",
}

// The packages from the bottom to the top. What stands higher may import what stands lower, never the other way
// round.
var laws = []law{
	{of: pure, never: impure,
		why: "the models and the decision have no I/O, clock or lock, so that a replay and a test run the same functions"},
	{of: []string{"internal/claimmodel"}, never: append([]string{"hm/..."}, impure...),
		why: "the model of the claim protocol shares no code with what it is a model of"},
	{of: []string{"internal/app"}, never: []string{"hm/..."},
		why: "identities are at the bottom: whatever they imported, everything would import"},
	{of: models, never: []string{"hm/..."}, except: []string{"hm/internal/app"},
		why: "desired, actual and commands are three models that do not know each other; only diff compares them"},
	{of: []string{"diff"}, never: []string{"hm/..."},
		except: []string{"hm/desired", "hm/actual", "hm/commands", "hm/internal/app"},
		why:    "the decision depends on its input and on nothing else"},
	{of: []string{"raftfsm/..."}, never: []string{"hm/..."},
		except: []string{"hm/desired", "hm/actual", "hm/commands", "hm/internal/app", "hm/raftfsm/..."},
		why:    "the log records decisions and does not make them: raftfsm knows neither diff nor cluster nor I/O"},
	{of: []string{"raftfsm/..."}, never: []string{"github.com/hashicorp/..."}, except: []string{"raftfsm/fsm.go"},
		why: "only the shim knows hashicorp/raft: a replay applies entries without it"},
	{of: []string{"..."}, never: []string{"github.com/hashicorp/raft", "github.com/hashicorp/raft-boltdb/..."},
		except: []string{"internal/cluster", "raftfsm/fsm.go"}, direct: true,
		why: "internal/cluster is the only owner of *raft.Raft; other packages speak of it in words of the domain"},
	{of: []string{"..."}, never: []string{"github.com/spf13/cobra"}, except: []string{"cmd/hm"},
		why: "a command has flags, calls a package and prints; only cmd/hm has commands"},
	{of: []string{"..."}, never: []string{"github.com/spf13/viper"}, except: []string{"cmd/hm"},
		why: "configuration is read once, in the program; packages take the typed part that they use"},

	{of: []string{"desired/sqldb", "desired/sqldb/ccschema"}, never: []string{"hm/..."},
		except: []string{"hm/desired", "hm/internal/app", "hm/desired/sqldb/ccschema"},
		why:    "a driver of the desired state knows its model and its database, nothing else"},
	{of: []string{"desired/bulk"}, never: []string{"hm/..."}, except: []string{"hm/desired", "hm/internal/app"},
		why: "a driver of the desired state knows its model and its wire format, nothing else"},
	{of: []string{"..."}, never: []string{"hm/desired/sqldb/dbtest"}, except: []string{"desired/sqldb/dbtest"},
		why: "only tests start database servers"},
	{of: []string{"actual/feed"}, never: []string{"hm/..."},
		except: []string{"hm/actual", "hm/internal/app", "hm/internal/bus/..."},
		why:    "decoding knows the model of heartbeats and the link that they come from, nothing else"},
	{of: []string{"commands/compare"}, never: []string{"hm/..."}, except: []string{"hm/commands", "hm/internal/app"},
		why: "comparing hm's commands with another health manager's needs the model of commands and nothing else"},
	{of: []string{"commands/otherhm"}, never: []string{"hm/..."},
		except: []string{"hm/actual", "hm/commands", "hm/commands/compare", "hm/commands/natspub", "hm/internal/app", "hm/internal/bus/..."},
		why:    "what hears another health manager knows the model of commands, their wire format and the link, nothing else"},
	{of: []string{"commands/natspub"}, never: []string{"hm/..."},
		except: []string{"hm/actual", "hm/commands", "hm/internal/app", "hm/internal/bus/..."},
		why:    "a publisher knows the model of commands and the link that they go to, nothing else"},

	{of: []string{"internal/config"}, never: []string{"os/...", "hm/..."},
		except: []string{"hm/diff", "hm/desired", "hm/actual", "hm/commands", "hm/internal/app"},
		why:    "the configuration's types and checks read no file and know no feature but the policy of the decision"},
	{of: tools, never: []string{"hm/..."},
		why: "small tools know nothing of hm, so that every package but the pure ones may use them"},
	{of: []string{"internal/bus/..."}, never: []string{"hm/..."}, except: []string{"hm/internal/bus/...", "hm/internal/tcpproxy"},
		why: "the NATS link carries bytes; what they mean is known above it"},
	{of: []string{"internal/cluster"}, never: []string{"hm/diff", "hm/internal/..."},
		except: []string{"hm/internal/app", "hm/internal/boltfile", "hm/internal/cluster/..."},
		why:    "the log carries entries; what they should say is decided above it"},
	{of: []string{"internal/reconcile"},
		never:  []string{"hm/internal/...", "github.com/nats-io/...", "github.com/hashicorp/...", "go.etcd.io/..."},
		except: []string{"hm/internal/app", "hm/internal/reconcile/...", "raftfsm/fsm.go"},
		why:    "the loop reaches log, link and source through ports, which a replay implements without them"},

	{of: []string{"internal/shadow"}, never: []string{"hm/internal/..."},
		except: []string{"hm/internal/app", "hm/internal/journal", "hm/internal/reconcile", "hm/internal/notify", "hm/internal/sampled"},
		why:    "shadow mode's second half moves events between a listener, the journal and a comparison, and knows no node"},

	{of: []string{"internal/recording/..."}, never: []string{"hm/internal/recorder", "hm/internal/replay", "hm/internal/cluster"},
		why: "the format of recordings knows neither who writes them nor who plays them"},
	{of: []string{"internal/recorder"}, never: []string{"hm/internal/replay"},
		why: "what writes recordings does not play them: the two share only the format"},
	{of: []string{"internal/replay"}, never: []string{"hm/internal/recorder", "hm/internal/cluster", "hm/internal/api/..."},
		why: "a replay needs no cluster: it reads recordings and runs the reconcile step"},
	{of: []string{"internal/api/..."}, never: []string{"hm/internal/config", "hm/internal/recorder", "hm/internal/replay"},
		why: "the API shows a node; configuring, recording and replaying are not its business"},
	{of: []string{"internal/dashboard"}, never: []string{"hm/..."}, direct: true,
		except: []string{"hm/internal/api", "hm/internal/words", "hm/internal/journal", "hm/internal/reconcile"},
		why:    "a page shows what the API says: there is no second path to the state. The kinds of events and the names of gate reasons are words"},
	{of: []string{"internal/words"}, never: append([]string{"hm/..."}, impure...),
		except: []string{"hm/internal/api", "hm/internal/journal", "hm/internal/reconcile"}, direct: true,
		why: "words turn answers of the API into sentences; the terminal, the dashboard and hm top show the same ones"},
	{of: []string{"internal/server"}, never: []string{"hm/internal/replay", "hm/internal/liveview/..."},
		why: "a node runs and is recorded; it neither plays recordings nor draws"},
	{of: []string{"internal/metrics/..."}, never: []string{"hm/..."},
		why: "the table of metrics and their histograms know nothing of what fills them, so that the documents are made of it alone"},
	{of: []string{"internal/liveview/..."}, never: []string{"hm/internal/cluster", "hm/internal/bus/..."}, direct: true,
		why: "the live view draws a view model and runs no node"},
	{of: []string{"internal/watch"}, never: []string{"hm/internal/cluster", "hm/internal/bus/...", "hm/raftfsm/...", "hm/diff"}, direct: true,
		why: "what watches a cluster knows what its API says, and nothing of how hm comes to it"},

	{of: []string{"..."}, never: []string{"hm/internal/server"}, except: []string{"cmd/hm", "internal/sandbox", "internal/server"},
		why: "a node is put together in one place, for the programs that run nodes; its parts know each other through ports"},
	{of: []string{"..."}, never: []string{"hm/internal/sandbox"}, except: []string{"cmd/hm", "internal/sandbox"},
		why: "the sandbox runs everything in one process, so nothing but the program may need it"},
	{of: []string{"..."}, never: []string{"hm/internal/sim/..."}, except: []string{"cmd/hm", "internal/sandbox", "internal/sim/...", "internal/faulttest", "internal/incident"},
		why: "the simulated Cloud Foundry is for the sandbox, hm sim and tests; a node never needs it"},
	{of: []string{"..."}, never: []string{"hm/internal/faulttest"}, except: []string{"internal/faulttest"},
		why: "the fault bench starts programs and breaks them, so nothing that runs may need it"},
	{of: []string{"internal/faulttest"},
		never: []string{"hm/internal/server", "hm/internal/cluster", "hm/raftfsm/...", "hm/diff"}, direct: true,
		why: "the fault bench judges hm from outside: it knows what hm receives and sends, and nothing of how hm decides"},
	{of: []string{"..."}, never: []string{"hm/cmd/..."}, why: "the program is on top: no package needs it"},
	{of: []string{"internal/sim/cc"}, never: []string{"hm/..."},
		except: []string{"hm/desired", "hm/actual", "hm/desired/sqldb/ccschema", "hm/internal/app", "hm/internal/sim/wire"},
		why:    "the simulated Cloud Controller knows the DEAs from messages only, as a real one does"},
	{of: []string{"internal/sim/fleet"}, never: []string{"hm/..."},
		except: []string{"hm/actual", "hm/internal/app", "hm/internal/notify", "hm/internal/sim/wire"},
		why:    "the simulated DEAs know neither the Cloud Controller nor what should run: they do what messages ask for"},
	{of: []string{"internal/sim/router"}, never: []string{"hm/..."},
		except: []string{"hm/internal/app", "hm/internal/sampled", "hm/internal/sim/wire"},
		why:    "the simulated router knows instances from the DEAs' messages only, as a real one does"},
	{of: []string{"internal/sim/hm9000"}, never: []string{"hm/..."},
		why: "the simulated HM9000 shares no code with hm, so that a mistake of hm is not repeated in what hm is compared with"},
	{of: []string{"internal/sim/wire"}, never: []string{"hm/..."}, except: []string{"hm/internal/app"},
		why: "what the simulated Cloud Controller and DEAs share knows neither of them"},
	{of: []string{"..."}, never: []string{"github.com/nats-io/nats-server/..."},
		except: []string{"internal/sim", "internal/bus/bustest"}, direct: true,
		why: "a daemon embeds no NATS server; only the simulator and tests do"},
	{of: []string{"..."}, never: []string{"hm/internal/tcpproxy"},
		except: []string{"internal/tcpproxy", "internal/bus/bustest", "internal/faulttest/..."},
		why:    "a bad network is for tests"},
	{of: []string{"..."}, never: []string{"pgregory.net/rapid", "testing/..."},
		except: []string{"internal/bus/bustest", "internal/liveview/ptytest", "internal/metrics/metricstest", "internal/recording/recordingtest"}, direct: true,
		why: "test libraries stay out of the program"},
}
