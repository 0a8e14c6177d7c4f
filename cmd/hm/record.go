package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/config"
	"hm/internal/recorder"
	"hm/internal/recording"
	"hm/internal/server"
	"hm/internal/words"
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
		Long: `Record what hm receives over NATS and reads of the desired state, until --for is over or a signal
(SIGINT, SIGTERM, SIGHUP). hm record sends nothing. The extension of FILE selects the compression:
.jsonl, .jsonl.gz or .jsonl.zst; - is standard output, not compressed. Outages of NATS, lost
messages and failed reads are recorded, too.

With --from-api it records what a running node receives, and needs only that node's API. The
recording begins with all that the cluster has recorded so far (crashes, outstanding commands,
holds). It has the node's own times and policy, and what only nodes know: failovers, and which holds
people set and release. While the node is away, hm record waits for it.

With --rotate-size or --rotate-age it writes numbered files. Each can be replayed alone, or together
with those after it. With --rotate-keep it keeps only the newest, as a flight recorder. A restarted
recorder continues after the existing files.

Without --from-api it listens to NATS and reads the desired state itself, and needs no running node.
Its configuration is that of hm server (nats.*, desired.*, and policy.* for the header). It begins
with a complete read of the desired state; the heartbeats of the DEAs show what runs within one
period. With --follow it asks a node for failovers and holds.`,
		Example: `  hm record --from-api http://10.0.0.1:5155 -o incident.jsonl.zst --for 30m
  hm record --from-api http://10.0.0.1:5155 -o /var/vcap/store/hm/rec.jsonl.zst --rotate-age 1h --rotate-keep 48
  hm record --set nats.servers=nats://10.0.0.1:4222 --set desired.bulk.url=http://10.0.0.2:8181 -o x.jsonl.gz --anonymize`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("addr") { // every command has the flag
				return withHint(errors.New("hm record does not use --addr"),
					"--from-api names the node to record; --follow names a node to ask while hm record listens itself")
			}
			return runRecord(cmd.Context(), c, f)
		},
	}
	f.config.register(cmd)
	f.remote = c.remote(cmd)
	p := cmd.Flags()
	p.StringVarP(&f.out, "output", "o", "", "file to write, which must not exist; - for standard output")
	p.StringVar(&f.note, "note", "", "what the recording shows, for the header")
	p.DurationVar(&f.duration, "for", 0, "end after this time")
	p.Int64Var(&f.rotateMiB, "rotate-size", 0,
		"start a new file after so many MiB; the files are numbered: x.0001.jsonl.zst")
	p.DurationVar(&f.rotateAge, "rotate-age", 0, "start a new file after this time")
	p.IntVar(&f.keep, "rotate-keep", 0,
		"keep only so many numbered files, including those of earlier recorders, and remove the oldest; 0 "+
			"removes none")
	p.BoolVar(&f.anonymize, "anonymize", false,
		"replace guids and DEA ids by others, consistently, and leave out all that hm does not need")
	p.StringVar(&f.fromAPI, "from-api", "",
		"address of the API of the node to record, instead of NATS and the source of the desired state")
	p.StringVar(&f.follow, "follow", "", "without --from-api: address of a node to ask for failovers and holds")
	return cmd
}

func runRecord(ctx context.Context, c *cli, f recordFlags) (err error) {
	switch {
	case f.out == "":
		return withHint(errors.New("no file to record to"), "give -o incident.jsonl.zst")
	case f.duration < 0 || f.rotateAge < 0 || f.rotateMiB < 0 || f.keep < 0:
		return errors.New("--for, --rotate-size, --rotate-age and --rotate-keep must not be negative")
	case f.keep > 0 && f.rotateAge == 0 && f.rotateMiB == 0:
		return withHint(errors.New("--rotate-keep needs --rotate-size or --rotate-age"),
			"give --rotate-size or --rotate-age, too")
	case f.fromAPI != "" && f.follow != "":
		return errors.New("--follow cannot be used with --from-api, which records failovers and holds already")
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
	ctx, stop := untilHangup(ctx) // finish the file
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
		return err // without an empty file
	}
	if closed := w.Close(); err == nil { // otherwise it is the same error
		err = closed
	}
	s := w.Stats
	report := c.out
	if f.out == stdStream {
		report = c.err
	}
	_, printed := fmt.Fprintf(report, "recorded %s in %s, %s: %s, %d of them repeated, %s of the desired state\n",
		words.Count(s.Lines, "line"), words.Count(s.Files, "file"), size(s.Bytes), words.Count(s.Heartbeats, "heartbeat"), s.Repeated,
		words.Count(s.Reads, "read"))
	return errors.Join(err, printed)
}

// stdStream is the file name for standard output or input.
const stdStream = "-"

// create starts the recording.
func (f recordFlags) create(c *cli, config map[string]string) (*recording.Writer, error) {
	o := recording.WriterOptions{
		Header:   recording.Header{Note: f.note, Config: config},
		MaxBytes: f.rotateMiB << 20, MaxAge: f.rotateAge, Keep: f.keep, Anonymize: f.anonymize,
	}
	switch {
	case f.out != stdStream:
		return recording.Create(f.out, o)
	case f.rotateMiB > 0 || f.rotateAge > 0:
		return nil, errors.New("--rotate-size and --rotate-age need a file: standard output cannot be split")
	}
	return recording.WriteTo(c.out, o), nil
}

// size returns a number of bytes, for people.
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

// recordNode records what a node receives.
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

// recordByListening records from NATS and the source of the desired state.
func recordByListening(ctx context.Context, f recordFlags, cfg config.Config, w *recording.Writer,
	logger *slog.Logger) (err error) {
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
	o := recorder.ListenOptions{Link: link, Source: source, Writer: w, PollInterval: cfg.PollInterval(),
		ReadTimeout: server.ReadTimeout(cfg), Logger: logger}
	if f.follow != "" {
		client, err := f.remote.clientOf(f.follow, "--follow")
		if err != nil {
			return err
		}
		defer client.Close()
		o.AskNode = func(ctx context.Context) (recorder.NodeInfo, error) {
			s, _, err := client.Status(ctx)
			return recorder.NodeInfoOf(s), err
		}
	}
	return recorder.Listen(ctx, o)
}
