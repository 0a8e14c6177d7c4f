package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"hm/desired/bulk"
	"hm/desired/sqldb"
	"hm/internal/bus"
	"hm/internal/config"
	"hm/internal/reconcile"
)

// Source reads the desired state.
type Source interface {
	reconcile.Source
	Close()
}

// OpenSource opens the source of the desired state that the configuration names. It connects to nothing yet. The
// caller must close the source before the link.
func OpenSource(cfg config.Config, link *bus.Link, logger *slog.Logger) (Source, error) {
	var source Source
	var err error
	if cfg.Desired.Source == config.SourceSQL {
		source, err = sqldb.New(sqldb.Options{
			Driver: cfg.Desired.SQL.Driver, DSN: cfg.Desired.SQL.DSN, Schema: cfg.Desired.SQL.Schema, Filter: cfg.Desired.Filter,
			BatchSize: cfg.Desired.SQL.BatchSize, Timeout: ReadTimeout(cfg), Logger: logger,
		})
	} else {
		source, err = bulk.New(bulk.Options{
			URL: cfg.Desired.Bulk.URL, Username: cfg.Desired.Bulk.Username, Password: cfg.Desired.Bulk.Password,
			BatchSize: cfg.Desired.Bulk.BatchSize, Timeout: cfg.Desired.Bulk.Timeout,
			Credentials: bulkCredentials(link, cfg.Desired.Partition), Logger: logger,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("preparing to read the desired state: %w", err) // source holds a nil pointer
	}
	return source, nil
}

// ReadTimeout bounds a complete read of the desired state. The read ends before the previous one becomes stale, and it
// has at least the time that one page may take.
func ReadTimeout(cfg config.Config) time.Duration {
	return max(cfg.DesiredTTL()-cfg.PollInterval(), cfg.Desired.Bulk.Timeout)
}

// credentialsTimeout bounds one request for the bulk API's credentials.
const credentialsTimeout = 5 * time.Second

// bulkCredentials asks the Cloud Controller over NATS for the credentials of its bulk API (N45).
func bulkCredentials(link *bus.Link, partition string) func(context.Context) (string, string, error) {
	return func(ctx context.Context) (user, password string, err error) {
		subject := "cloudcontroller.bulk.credentials." + partition
		ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
		defer cancel()
		reply, err := link.Request(ctx, subject, nil)
		if err != nil {
			return "", "", fmt.Errorf("asking for the bulk API's credentials on %s "+
				"(set desired.bulk.username and desired.bulk.password to do without): %w", subject, err)
		}
		return bulk.ParseCredentials(reply)
	}
}
