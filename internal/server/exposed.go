package server

import (
	"io/fs"
	"log/slog"
	"os"

	"hm/internal/config"
)

// forOthers are the permissions of users who are neither the owner nor of the group of a file.
const forOthers fs.FileMode = 0o007

// warnOfExposed logs which files with secrets, and which directory of the record, everybody on the machine can reach.
func warnOfExposed(cfg config.Config, logger *slog.Logger) {
	for _, f := range []struct{ key, path, want string }{
		{"node.data_dir", cfg.Node.DataDir, "chmod 700"},
		{"raft.tls.key", cfg.Raft.TLS.Key, "chmod 600"},
		{"api.tls.key", cfg.API.TLS.Key, "chmod 600"},
		{"heartbeats.tls.key", cfg.Heartbeats.TLS.Key, "chmod 600"},
		{"nats.tls.key", cfg.NATS.TLS.Key, "chmod 600"},
		{"nats.creds", cfg.NATS.Creds, "chmod 600"},
	} {
		if f.path == "" {
			continue
		}
		if info, err := os.Stat(f.path); err == nil && info.Mode()&forOthers != 0 {
			logger.Warn("every user of this machine can reach a file that should be hm's alone",
				"key", f.key, "path", f.path, "mode", info.Mode().Perm().String(), "want", f.want)
		}
	}
}
