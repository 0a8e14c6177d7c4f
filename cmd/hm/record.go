package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/recorder"
	"hm/internal/recording"
	"hm/internal/server"
	"hm/raftfsm"
)

// recordFlags are the flags of hm record.
type recordFlags struct {
	config    configFlags
	remote    *remote
	out       string
	note      string
	duration  time.Duration
	rotateMiB int64
	rotateAge time.Duration
	keep      int
	anonymize bool
	fromAPI   string
	follow    string
}

func newRecordCommand(c *cli) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record -o FILE",
		Short: "Record what hm hears and reads, for hm replay",
		Long: `Record what hm hears over NATS and reads of the desired state, until --for is over, or SIGINT, SIGTERM or SIGHUP.
It sends nothing. The ending of FILE says how it is compressed: .jsonl, .jsonl.gz or .jsonl.zst; - is standard output,
uncompressed. Losses of NATS, lost messages and failed reads are recorded as such.

With --from-api it takes down what a running node hears, and needs nothing but that node's API. The recording begins with
all that the cluster has recorded so far (crashes, outstanding commands, holds), goes by the node's own time and policy,
and has what only nodes know: failovers, and what people hold and release. When the node goes away, it waits for its
return.

With --rotate-size or --rotate-age it is in numbered files, each of which can be replayed by itself or with those that
follow it; --rotate-keep makes that a flight recorder, which always has the newest files. A recorder that is started anew
goes on behind the files that are there.

Without --from-api it listens by itself, and needs no running node. The configuration is that of hm server (nats.*,
desired.*, and policy.*, which goes into the header). It begins with a complete read of the desired state; what runs, the
DEAs tell within one heartbeat period. With --follow a node is asked for failovers and holds.`,
		Example: `  hm record --from-api http://10.0.0.1:5155 -o incident.jsonl.zst --for 30m
  hm record --from-api http://10.0.0.1:5155 -o /var/vcap/store/hm/rec.jsonl.zst --rotate-age 1h --rotate-keep 48
  hm record --set nats.servers=nats://10.0.0.1:4222 --set desired.bulk.url=http://10.0.0.2:8181 -o x.jsonl.gz --anonymize`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("addr") { // which every command has
				return withHint(errors.New("hm record does not go by --addr"), "--from-api names the node to record, --follow one that is asked while hm record listens by itself")
			}
			return runRecord(cmd.Context(), c, f)
		},
	}
	f.config.register(cmd)
	f.remote = c.remote(cmd)
	p := cmd.Flags()
	p.StringVarP(&f.out, "output", "o", "", "file to write, which must not exist; - for standard output")
	p.StringVar(&f.note, "note", "", "a word on what it shows, for the header")
	p.DurationVar(&f.duration, "for", 0, "end by itself after this time")
	p.Int64Var(&f.rotateMiB, "rotate-size", 0, "begin another file after so many MiB; files are then numbered: x.0001.jsonl.zst")
	p.DurationVar(&f.rotateAge, "rotate-age", 0, "begin another file after this time")
	p.IntVar(&f.keep, "rotate-keep", 0, "keep only so many of the numbered files, those of earlier recorders included, and remove the oldest; 0 removes none")
	p.BoolVar(&f.anonymize, "anonymize", false, "replace guids and DEA ids, equal ones by equal ones, and leave out all that hm does not need")
	p.StringVar(&f.fromAPI, "from-api", "", "address of the node's API to record from, instead of NATS and the desired source")
	p.StringVar(&f.follow, "follow", "", "while listening by itself: address of a node that is asked who leads and what people hold")
	return cmd
}

func runRecord(ctx context.Context, c *cli, f recordFlags) (err error) {
	switch {
	case f.out == "":
		return withHint(errors.New("no file to record to"), "give -o incident.jsonl.zst")
	case f.duration < 0 || f.rotateAge < 0 || f.rotateMiB < 0 || f.keep < 0:
		return errors.New("--for, --rotate-size, --rotate-age and --rotate-keep must not be negative")
	case f.keep > 0 && f.rotateAge == 0 && f.rotateMiB == 0:
		return withHint(errors.New("--rotate-keep is for a recording in several files"), "give --rotate-size or --rotate-age, too")
	case f.fromAPI != "" && f.follow != "":
		return errors.New("--follow goes with listening: what --from-api records has leaders and holds already")
	}
	loaded, err := f.config.load()
	if err != nil {
		return err
	}
	cfg := loaded.Config
	logger := newLogger(c.err, cfg.Log)
	w, err := f.create(c, recording.ConfigOf(cfg))
	if err != nil {
		return err
	}
	ctx, stop := untilHangup(ctx) // the file is to be whole
	defer stop()
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	if f.fromAPI != "" {
		err = recordNode(ctx, f, w, logger)
	} else {
		err = recordByListening(ctx, f, cfg, w, logger)
	}
	if err != nil && w.Stats.Files == 0 {
		return err // and no file is left that holds nothing
	}
	if closed := w.Close(); err == nil { // else it is the same error again
		err = closed
	}
	s := w.Stats
	report := c.out
	if f.out == stdStream {
		report = c.err
	}
	_, told := fmt.Fprintf(report, "recorded %s in %s, %s: %s, %d of them repeated, %s of the desired state\n",
		count(s.Lines, "line"), count(s.Files, "file"), size(s.Bytes), count(s.Heartbeats, "heartbeat"), s.Repeated, count(s.Reads, "read"))
	return errors.Join(err, told)
}

// stdStream in place of a file's name is standard output or input.
const stdStream = "-"

// create begins the recording.
func (f recordFlags) create(c *cli, config map[string]string) (*recording.Writer, error) {
	o := recording.WriterOptions{
		Header:   recording.Header{Note: f.note, Config: config},
		MaxBytes: f.rotateMiB << 20, MaxAge: f.rotateAge, Keep: f.keep, Anonymize: f.anonymize,
	}
	switch {
	case f.out != stdStream:
		return recording.Create(f.out, o)
	case f.rotateMiB > 0 || f.rotateAge > 0:
		return nil, errors.New("--rotate-size and --rotate-age need a file: standard output is in one piece")
	}
	return recording.WriteTo(c.out, o), nil
}

// size tells a number of bytes.
func size(n int64) string {
	unit, of := "KiB", float64(n)/(1<<10)
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if of < 1000 {
			break
		}
		unit, of = next, of/(1<<10)
	}
	return fmt.Sprintf("%.1f %s", of, unit)
}

// recordNode takes down what a node hears.
func recordNode(ctx context.Context, f recordFlags, w *recording.Writer, logger *slog.Logger) error {
	client, err := f.remote.clientOf(f.fromAPI, "--from-api")
	if err != nil {
		return err
	}
	defer client.Close()
	err = recorder.Copy(ctx, recorder.CopyOptions{
		Name: f.fromAPI, Writer: w, Logger: logger,
		Open:        func(ctx context.Context) (io.ReadCloser, error) { return client.Recording(ctx) },
		InsertState: client.RecordingState,
	})
	return explained(err, "--from-api")
}

// recordByListening records what it hears and reads by itself.
func recordByListening(ctx context.Context, f recordFlags, cfg config.Config, w *recording.Writer, logger *slog.Logger) (err error) {
	link, err := server.OpenLink(cfg, "hm record", logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	source, err := server.OpenSource(cfg, link, logger)
	if err != nil {
		return err
	}
	defer source.Close()
	o := recorder.ListenOptions{Link: link, Source: source, Writer: w, PollInterval: cfg.PollInterval(), ReadTimeout: server.ReadTimeout(cfg), Logger: logger}
	if f.follow != "" {
		client, err := f.remote.clientOf(f.follow, "--follow")
		if err != nil {
			return err
		}
		defer client.Close()
		o.AskNode = func(ctx context.Context) (recorder.NodeInfo, error) { return toldBy(ctx, client) }
	}
	return recorder.Listen(ctx, o)
}

// toldBy asks a node for what nobody hears over NATS.
func toldBy(ctx context.Context, client *api.Client) (recorder.NodeInfo, error) {
	s, _, err := client.Status(ctx)
	if err != nil {
		return recorder.NodeInfo{}, err
	}
	told := recorder.NodeInfo{Term: s.Cluster.Term}
	if s.Cluster.Leader == "" {
		told.Term = 0 // between two leaders
	}
	for _, h := range s.Holds {
		hold := raftfsm.Hold{Name: h.Name, Reason: h.Reason, By: h.By}
		if !h.Until.IsZero() {
			hold.Until = app.TimeOf(h.Until.Time)
		}
		told.Holds = append(told.Holds, hold)
	}
	return told, nil
}
