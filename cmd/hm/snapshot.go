package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/snapshotfile"
	"hm/internal/words"
)

func newSnapshotCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save, inspect and restore the record of a cluster",
	}
	cmd.AddCommand(newSnapshotSaveCommand(c), newSnapshotInspectCommand(c), newSnapshotRestoreCommand(c))
	return cmd
}

func newSnapshotSaveCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save what a node has recorded, while it runs",
		Long: `Save what a node has recorded, as it is at this moment, while the node runs: desired apps, instances,
DEAs, crash records, outstanding commands and holds. Any node answers. A node that does not lead may
be a moment behind.

FILE must not exist. It gets its name only when all of it is there, checked and on the disk. The
role admin is needed.`,
		Example: "  hm snapshot save /var/backups/hm-$(date +%F).hmsnap",
		Args:    cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := args[0]
		if _, err := os.Lstat(path); err == nil {
			return withHint(fmt.Errorf("%s exists", path), "name a new file: a snapshot replaces none")
		}
		return r.ask(func(client *api.Client) error {
			body, err := client.SaveSnapshot(cmd.Context())
			if err != nil {
				return err
			}
			told := c.progress("received")
			_, _, err = snapshotfile.Save(path, body, told)
			if err = errors.Join(err, body.Close()); err != nil {
				return err
			}
			return c.printSnapshot(path)
		})
	}
	return cmd
}

// progressEvery is how often a long transfer tells how far it is, on a terminal.
const progressEvery = time.Second

// progress gives a function that tells people how much was transferred.
func (c *cli) progress(what string) func(int64) {
	if !c.terminal() {
		return nil
	}
	next := time.Now().Add(progressEvery)
	return func(n int64) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			fmt.Fprintf(c.err, "%s %s\n", what, size(n))
		}
	}
}

func newSnapshotInspectCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE|DIR",
		Short: "Check a snapshot and say what is in it, without a cluster",
		Long: `Read a whole snapshot, check its checksums and the hash of the state in it, and say what is in it. No
node is asked. It may be a file of hm snapshot save, a snapshot of Raft (state.bin), or the
node.data_dir of a node, of which the newest snapshot is taken.`,
		Example: "  hm snapshot inspect hm-2026-11-29.hmsnap\n  hm snapshot inspect /var/vcap/store/hm -o json",
		Args:    cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(_ *cobra.Command, args []string) error { return c.printSnapshot(args[0]) }
	return cmd
}

func (c *cli) printSnapshot(path string) error {
	s, err := snapshotfile.Inspect(path)
	if err != nil {
		return withHint(err, "a file that is damaged cannot be restored: take another one")
	}
	return c.printValue(s, nil, snapshotText(s))
}

// snapshotText describes a snapshot for people.
func snapshotText(s snapshotfile.Summary) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s"+format+"\n", append([]any{name}, args...)...)
	}
	line("file", "%s: %s, format %d, whole and undamaged", s.File, size(s.Size), s.Format)
	if s.Kind == snapshotfile.KindRaft {
		line("kind", "a snapshot of Raft in a node's data directory")
	} else {
		line("saved", "%s by %s, hm %s", s.SavedAt, s.Node, cmp.Or(s.Version, "of an unknown version"))
	}
	line("cluster", "%s", cmp.Or(s.Cluster, "it had no id"))
	line("time", "%s (hm time)", cmp.Or(s.Time, "nothing was recorded"))
	line("entry", "%d of term %d", s.Index, s.Term)
	line("hash", "%s", s.Hash)
	line("desired", "%s, %s", words.Count(s.Apps, "app"), words.Count(s.DesiredInstances, "instance"))
	line("actual", "%s on %s, and %s that are gone", words.Count(s.Instances, "instance"), words.Count(s.DEAs, "DEA"), words.Count(s.GoneDEAs, "DEA"))
	line("commands", "%d outstanding; a restore drops them", s.Commands)
	line("crashes", "%s", words.Count(s.Crashes, "record"))
	line("holds", "%s", cmp.Or(strings.Join(s.Holds, ", "), "none"))
	if s.Restores > 0 {
		line("restores", "%d before", s.Restores)
	}
	return strings.TrimRight(b.String(), "\n")
}

func newSnapshotRestoreCommand(c *cli) *cobra.Command {
	var force bool
	var foreign, by string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the record of a whole cluster by that of a snapshot",
		Long: `Replace the record of a running cluster, new or not, by that of a file of hm snapshot save. Any node
takes it and passes it on to the leader; all nodes take it over. What the cluster has recorded
since is lost. FILE is checked as a whole before it is sent, and again before anything is changed.

The commands in the snapshot are dropped. hm sends none until it has heard the DEAs for a freshness
window and a grace, and has read the desired state again (hold:restored). The cluster keeps its own
id, its holds and its time.

A snapshot of another cluster is refused, unless --foreign has the id of that cluster: so it is for
a cluster that was made anew. hm asks for the id of the cluster before it replaces anything, unless
--force is given. The role admin is needed.`,
		Example: `  hm snapshot restore hm-2026-11-29.hmsnap
  hm snapshot restore hm-2026-11-29.hmsnap --foreign 6f1d2b90-553c-4e17-a802-d374419abec5 --force`,
		Args: cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	r := c.remote(cmd)
	f := cmd.Flags()
	f.BoolVar(&force, "force", false, "do not ask for the id of the cluster")
	f.StringVar(&foreign, "foreign", "", "restore a snapshot of the cluster with this id; none: of a cluster that had no id")
	f.StringVar(&by, "by", "", "who restores it (default: $USER at this host)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sum, err := snapshotfile.Inspect(args[0])
		switch {
		case err != nil:
			return withHint(err, "a file that is damaged cannot be restored: take another one")
		case sum.Kind != snapshotfile.KindSaved:
			return withHint(fmt.Errorf("%s is a snapshot of Raft", sum.File), "only a file of hm snapshot save can be restored")
		}
		return r.ask(func(client *api.Client) error {
			return c.restoreSnapshot(cmd.Context(), client, sum, api.RestoreRequest{Foreign: foreign, By: cmp.Or(by, whoAmI())}, force)
		})
	}
	return cmd
}

func (c *cli) restoreSnapshot(ctx context.Context, client *api.Client, sum snapshotfile.Summary, q api.RestoreRequest, force bool) error {
	status, _, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if q.Cluster = status.Cluster.ID; q.Cluster == "" {
		return withHint(errors.New("the cluster has no id yet"), "its first leader gives it one: see hm status, then try again")
	}
	if of := cmp.Or(sum.Cluster, "none"); of != q.Cluster && !strings.EqualFold(of, q.Foreign) {
		return withHint(fmt.Errorf("the snapshot is of the cluster %s, and this is the cluster %s", cmp.Or(sum.Cluster, "none (it had no id)"), q.Cluster),
			"if that is what you want, add --foreign "+of)
	}
	if !force {
		fmt.Fprintf(c.err, "%s\n\nThe cluster %s (leader %s) has %s and %s on record. All of it is replaced.\nType the id of the cluster to go on: ",
			snapshotText(sum), q.Cluster, cmp.Or(status.Cluster.Leader, "unknown"), words.Count(status.Desired.Apps, "app"), words.Count(status.Actual.Instances, "instance"))
		typed, err := bufio.NewReader(io.LimitReader(c.in, 4<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !strings.EqualFold(strings.TrimSpace(typed), q.Cluster) {
			return withHint(errors.New("that is not the id of the cluster: nothing was restored"), "scripts use --force")
		}
	}
	file, err := os.Open(sum.File)
	if err != nil {
		return err
	}
	defer file.Close()
	v, raw, err := client.RestoreSnapshot(ctx, file, sum.Size, q)
	if err != nil {
		return err
	}
	return c.print(answer{raw: raw, text: func() error {
		_, err := fmt.Fprintf(c.out, "restored as entry %d; hm sends no commands before %s, and then only with a fresh picture\n",
			v.Index, v.WaitsUntil.Format(time.RFC3339))
		return err
	}})
}
