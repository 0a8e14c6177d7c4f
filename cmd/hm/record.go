package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hm/desired/bulk"
	"hm/internal/api"
	"hm/internal/bus"
	"hm/internal/config"
	"hm/internal/replay"
)

// recordFlags are the flags of hm record.
type recordFlags struct {
	config    configFlags
	out       string
	note      string
	duration  time.Duration
	rotateMiB int64
	rotateAge time.Duration
	anonymize bool
	fromAPI   string
}

func newRecordCommand(c *cli) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record -o FILE",
		Short: "Record what hm hears and reads, for hm replay",
		Long: `Record what hm hears over NATS and reads of the desired state, until SIGINT or SIGTERM or for --for. It sends nothing and
needs no running node. The configuration is that of hm server (nats.*, desired.*, and policy.*, which goes into the
header). The ending of FILE says how it is compressed: .jsonl, .jsonl.gz or .jsonl.zst.

It begins with a complete read of the desired state; what runs, the DEAs tell within one heartbeat period. Losses of
NATS, lost messages and failed reads are recorded as such. With --from-api changes of the leader are recorded, too.`,
		Example: `  hm record --config hm.yml -o incident.jsonl.zst --for 30m
  hm record --config hm.yml -o /var/vcap/store/hm/rec.jsonl.zst --rotate-size 256 --rotate-age 1h
  hm record --set nats.servers=nats://10.0.0.1:4222 --set desired.bulk.url=http://10.0.0.2:8181 -o x.jsonl.gz --anonymize`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRecord(cmd.Context(), c, f) },
	}
	f.config.register(cmd)
	p := cmd.Flags()
	p.StringVarP(&f.out, "output", "o", "", "file to write; it must not exist")
	p.StringVar(&f.note, "note", "", "a word on what it shows, for the header")
	p.DurationVar(&f.duration, "for", 0, "end by itself after this time")
	p.Int64Var(&f.rotateMiB, "rotate-size", 0, "begin another file after so many MiB; files are then numbered: x.0001.jsonl.zst")
	p.DurationVar(&f.rotateAge, "rotate-age", 0, "begin another file after this time")
	p.BoolVar(&f.anonymize, "anonymize", false, "replace guids and DEA ids, equal ones by equal ones, and leave out all that hm does not need")
	p.StringVar(&f.fromAPI, "from-api", "", "address of a node that is asked who leads, so that failovers are recorded")
	return cmd
}

func runRecord(ctx context.Context, c *cli, f recordFlags) (err error) {
	switch {
	case f.out == "":
		return withHint(errors.New("no file to record to"), "give -o incident.jsonl.zst")
	case f.duration < 0 || f.rotateAge < 0 || f.rotateMiB < 0:
		return errors.New("--for, --rotate-size and --rotate-age must not be negative")
	}
	loaded, err := f.config.load()
	if err != nil {
		return err
	}
	cfg := loaded.Config
	if cfg.Desired.Source != config.SourceBulk {
		return fmt.Errorf("desired.source %s cannot be recorded: use bulk", cfg.Desired.Source)
	}
	logger := newLogger(c.err, cfg.Log)
	link, err := bus.Open(bus.Options{
		Servers: cfg.NATS.Servers, Username: cfg.NATS.Username, Password: cfg.NATS.Password, Token: cfg.NATS.Token, Creds: cfg.NATS.Creds,
		TLS: bus.TLS(cfg.NATS.TLS), PingInterval: cfg.NATS.PingInterval, Name: "hm record", Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("opening the NATS link: %w", err)
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	source, err := bulk.New(bulk.Options{
		URL: cfg.Desired.Bulk.URL, Username: cfg.Desired.Bulk.Username, Password: cfg.Desired.Bulk.Password,
		BatchSize: cfg.Desired.Bulk.BatchSize, Timeout: cfg.Desired.Bulk.Timeout,
		Credentials: bulkCredentials(link, cfg.Desired.Partition), Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("preparing to read the desired state: %w", err)
	}
	defer source.Close()
	w, err := replay.Create(f.out, replay.WriterOptions{
		Header:   replay.Header{Note: f.note, Config: replay.ConfigOf(cfg)},
		MaxBytes: f.rotateMiB << 20, MaxAge: f.rotateAge, Anonymize: f.anonymize,
	})
	if err != nil {
		return err
	}
	o := replay.RecorderOptions{Link: link, Source: source, Writer: w, PollInterval: cfg.PollInterval(), ReadTimeout: readTimeout(cfg), Logger: logger}
	if f.fromAPI != "" {
		client, err := api.NewClient(api.ClientOptions{Addr: f.fromAPI, Username: cfg.API.Username, Password: cfg.API.Password, Timeout: time.Second})
		if err != nil {
			return err
		}
		defer client.Close()
		o.Term = func(ctx context.Context) (uint64, error) {
			s, _, err := client.Status(ctx)
			if s.Cluster.Leader == "" {
				return 0, err // between two leaders
			}
			return s.Cluster.Term, err
		}
	}
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	err = errors.Join(replay.Record(ctx, o), w.Close())
	if err != nil {
		return err
	}
	s := w.Stats
	_, err = fmt.Fprintf(c.out, "recorded %s in %s, %.1f MiB: %s, %d of them repeated, %s of the desired state\n",
		count(s.Lines, "line"), count(s.Files, "file"), float64(s.Bytes)/(1<<20), count(s.Heartbeats, "heartbeat"), s.Repeated, count(s.Reads, "read"))
	return err
}
