package server

import (
	"errors"
	"io/fs"
	"log/slog"

	"hm/internal/config"
)

// Check reports why Open would refuse the configuration. It opens no store, listens nowhere and connects to nothing. A
// file that cannot be read is not reported: the configuration may be checked on another machine than the node's.
func Check(cfg config.Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	cluster, err := clusterOptions(cfg, logger)
	if err != nil {
		return err
	}
	source, err := OpenSource(cfg, nil, logger)
	if err == nil {
		source.Close()
	}
	_, badKeys := keyOptions(cfg, nil, logger)
	errs := []error{badKeys, cluster.Validate(), linkOptions(cfg, "hm", logger).Validate(), err, apiOptions(cfg, logger).Validate(),
		checkCC(cfg, logger)}
	if cfg.Heartbeats.Listen != "" {
		errs = append(errs, postOptions(cfg, logger).Validate())
	}
	return errors.Join(withoutFileErrors(errs...)...)
}

// withoutFileErrors drops the errors of files that cannot be read.
func withoutFileErrors(errs ...error) (left []error) {
	for _, err := range errs {
		if unreadable := (*fs.PathError)(nil); !errors.As(err, &unreadable) {
			left = append(left, err)
		}
	}
	return left
}
