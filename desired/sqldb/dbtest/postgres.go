package dbtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
)

var postgres = kind{
	driver: "postgres", program: "postgres", debian: "postgresql",
	find: func() string {
		paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // not on Debian's PATH
		if len(paths) > 0 {
			return paths[len(paths)-1]
		}
		path, _ := exec.LookPath("postgres")
		return path
	},
	prepare: preparePostgres,
	command: func(s *Server, program string) *exec.Cmd {
		args := []string{"-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-p", s.port(), "-h", "127.0.0.1",
			"-c", "wal_retrieve_retry_interval=100ms", "-c", "fsync=off", "-c", "synchronous_commit=off",
			"-c", "full_page_writes=off", "-c", "max_connections=50"}
		if !s.options.SmallCache {
			args = append(args, "-c", "shared_buffers=256MB")
		}
		if s.options.TLSCert != "" {
			args = append(args, "-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(s.dir, filepath.Base(s.options.TLSCert)),
				"-c", "ssl_key_file="+filepath.Join(s.dir, filepath.Base(s.options.TLSKey)))
		}
		return exec.Command(program, args...)
	},
	connect: func(ctx context.Context, s *Server, database string) (session, error) {
		if database == "" {
			database = "postgres"
		}
		dsn := fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=disable", s.dir, s.port(), database)
		c, err := pgconn.Connect(ctx, dsn)
		if err != nil {
			return nil, err
		}
		return postgresSession{c}, nil
	},
	dsn: func(s *Server, user, password, database string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, s.Addr, database)
	},
}

func preparePostgres(s *Server, program string) error {
	data := filepath.Join(s.dir, "data")
	if primary := s.options.ReplicaOf; primary != nil { // a hot standby
		return s.run(exec.Command(filepath.Join(filepath.Dir(program), "pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync",
			"-h", primary.dir, "-p", primary.port(), "-U", "postgres"))
	}
	initdb := exec.Command(filepath.Join(filepath.Dir(program), "initdb"),
		"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	if err := s.run(initdb); err != nil {
		return err
	}
	over := "host"
	if s.options.RequireTLS {
		over = "hostssl"
	}
	hba := filepath.Join(data, "pg_hba.conf")
	rules := "local all all trust\nlocal replication all trust\n" + over + " all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(hba, []byte(rules), 0o600); err != nil {
		return err
	}
	if err := s.own(hba); err != nil {
		return err
	}
	return s.keepTLS()
}

// keepTLS copies certificate and key to a place that only the server may read.
func (s *Server) keepTLS() error {
	for _, file := range []string{s.options.TLSCert, s.options.TLSKey} {
		if file == "" {
			continue
		}
		if _, err := s.private(file); err != nil {
			return err
		}
	}
	return nil
}

type postgresSession struct{ c *pgconn.PgConn }

func (s postgresSession) run(ctx context.Context, statement string, row func([]string)) error {
	results, err := s.c.Exec(ctx, statement).ReadAll()
	for _, result := range results {
		for _, values := range result.Rows {
			texts := make([]string, len(values))
			for i, v := range values {
				texts[i] = string(v)
			}
			if row != nil {
				row(texts)
			}
		}
	}
	return err
}

func (s postgresSession) close() { _ = s.c.Close(context.Background()) }
