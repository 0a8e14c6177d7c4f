package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/cluster"
)

// survivor is what hm cluster recover prints of one data directory as JSON.
type survivor struct {
	Dir      string    `json:"dir"`
	Node     string    `json:"node"`
	Term     uint64    `json:"term"`
	Index    uint64    `json:"index"`
	Snapshot uint64    `json:"snapshot"`
	Hash     string    `json:"state_hash"`
	Members  []string  `json:"members"`
	Ahead    []reached `json:"ahead"` // members that told of entries which this one lacks; never null
	Newest   bool      `json:"newest"`
	Backup   string    `json:"backup,omitempty"` // what was replaced
	Lost     []string  `json:"lost,omitempty"`   // members that are left out now
}

// reached is how far the log of a member reached.
type reached struct {
	ID    string `json:"id"`
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

func newClusterRecoverCommand(c *cli) *cobra.Command {
	var dirs, keep []string
	var id string
	var dryRun, setAside, force bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on from the data of a survivor after a majority was lost for ever",
		Long: `Go on from the data of a survivor after a majority of the nodes was lost for ever. No hm server may
run on the directory. With --dry-run it only says what each survivor has and what would be lost. Without,
the node whose data it is becomes the only voter of a new cluster with its record; the other nodes of
--keep copy the record from it and vote then. What is replaced is kept beside it.

The lost nodes must never start again with their old data: together they would be the old cluster.
docs/recovery.md has the steps.`,
		Example: `  hm cluster recover --dry-run --data-dir /var/vcap/store/hm
  hm cluster recover --data-dir /var/vcap/store/hm --keep hm-0=10.0.0.1:7140 --keep hm-1=10.0.0.2:7140
  hm cluster recover --set-aside --data-dir /var/vcap/store/hm --keep hm-0=10.0.0.1:7140 --keep hm-1=10.0.0.2:7140`,
		Args: cobra.NoArgs,
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	f := cmd.Flags()
	f.StringArrayVar(&dirs, "data-dir", nil, "node.data_dir of a survivor; several only with --dry-run")
	f.StringArrayVar(&keep, "keep", nil, "a member of the new cluster, as ID=ADDRESS; the node of --data-dir too")
	f.StringVar(&id, "id", "", "the node whose data it is, if the data does not say")
	f.BoolVar(&dryRun, "dry-run", false, "only say what the survivors have, and what would be lost")
	f.BoolVar(&setAside, "set-aside", false, "set the record of this node aside: it copies that of the node that was recovered")
	f.BoolVar(&force, "force", false, "go on although a node of --keep told of entries that this one lacks")
	cmd.RunE = func(*cobra.Command, []string) error {
		switch {
		case len(dirs) == 0:
			return withHint(errors.New("--data-dir is missing"), "name node.data_dir of a survivor")
		case dryRun:
			return c.surveySurvivors(dirs)
		case len(dirs) > 1:
			return withHint(errors.New("--data-dir is given twice"), "only --dry-run looks at several")
		case len(keep) == 0:
			return withHint(errors.New("--keep is missing"), "name each member of the new cluster, as --keep hm-0=10.0.0.1:7140")
		}
		o := cluster.RecoverOptions{DataDir: dirs[0], ID: id, Now: time.Now(), Force: force}
		for _, k := range keep {
			id, address, ok := strings.Cut(k, "=")
			if !ok {
				return withHint(fmt.Errorf("--keep %q is not ID=ADDRESS", k), "write it like hm-0=10.0.0.1:7140")
			}
			o.Keep = append(o.Keep, cluster.Peer{ID: id, Address: address})
		}
		act := cluster.Recover
		if setAside {
			act = cluster.SetRecordAside
		}
		done, err := act(o)
		if err != nil {
			var refused *cluster.Refusal
			if errors.As(err, &refused) {
				return withHint(err, refused.Hint)
			}
			return err
		}
		return c.printRecovered(done, setAside)
	}
	return cmd
}

func survivorOf(s cluster.Survivor) survivor {
	told := survivor{Dir: s.Dir, Node: s.Node, Term: s.Term, Index: s.Index, Snapshot: s.Snapshot, Hash: s.Hash, Members: []string{}, Ahead: []reached{}}
	for _, m := range s.Members {
		told.Members = append(told.Members, m.ID+"="+m.Address)
	}
	for _, r := range s.Ahead() {
		told.Ahead = append(told.Ahead, reached(r))
	}
	return told
}

// surveySurvivors says what each survivor has.
func (c *cli) surveySurvivors(dirs []string) error {
	var found []cluster.Survivor
	for _, dir := range dirs {
		s, err := cluster.Inspect(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		found = append(found, s)
	}
	newest := cluster.Newest(found)
	all := make([]survivor, len(found))
	var names []string
	for i, s := range found {
		all[i] = survivorOf(s)
		all[i].Newest = i == newest
		names = append(names, s.Dir)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return c.print(answer{raw: raw, names: names, text: func() error { return c.printSurvey(all, newest) }})
}

func (c *cli) printSurvey(all []survivor, newest int) error {
	var rows []row
	for _, s := range all {
		mark := ""
		if s.Newest {
			mark = "newest"
		}
		rows = append(rows, cells(s.Node, s.Dir, s.Term, s.Index, s.Snapshot, s.Hash[:min(12, len(s.Hash))], mark))
	}
	if err := c.printTable([]string{"node", "data", "term", "index", "snapshot", "state", ""}, rows); err != nil {
		return err
	}
	s := all[newest]
	lines := []string{"", "members: " + strings.Join(s.Members, ", ")}
	for _, r := range s.Ahead {
		lines = append(lines, fmt.Sprintf("lost: %s told that its log reaches term %d, index %d; what comes after index %d here is only there", r.ID, r.Term, r.Index, s.Index))
	}
	if len(s.Ahead) == 0 {
		lines = append(lines, "lost: nothing that another node told of; what a majority without this node recorded in its last second cannot be known")
	} else {
		lines = append(lines, "what a majority without this node recorded after that cannot be known")
	}
	lines = append(lines, "recovered as well: the newest entries, even if no majority had them", "nothing was changed")
	_, err := fmt.Fprintln(c.out, strings.Join(lines, "\n"))
	return err
}

func (c *cli) printRecovered(done cluster.Recovered, setAside bool) error {
	told := survivorOf(done.Survivor)
	told.Newest, told.Backup, told.Lost = !setAside, done.Backup, done.Lost
	text := fmt.Sprintf("the record of %s goes on from term %d, index %d", done.Node, done.Term, done.Index)
	if setAside {
		text = "the record of this node is set aside: start it, and it copies that of the node that was recovered"
	}
	text += "\nkept as it was: " + done.Backup
	if len(done.Lost) > 0 {
		text += fmt.Sprintf("\nleft out: %s. Remove their data before they start again", strings.Join(done.Lost, ", "))
	}
	return c.printValue(told, []string{done.Dir}, text)
}
