package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
)

var mariadb = kind{
	driver: "mysql", program: "mariadbd", debian: "mariadb-server",
	find: func() string {
		if _, err := exec.LookPath("mariadb-install-db"); err != nil { // prepare needs it
			return ""
		}
		if path, err := exec.LookPath("mariadbd"); err == nil {
			return path
		}
		if _, err := os.Stat("/usr/sbin/mariadbd"); err == nil { // not on the PATH of every user
			return "/usr/sbin/mariadbd"
		}
		return ""
	},
	prepare: func(s *Server, _ string) error {
		install, err := exec.LookPath("mariadb-install-db")
		if err != nil {
			return err
		}
		cmd := exec.Command(install, "--no-defaults", "--datadir="+filepath.Join(s.dir, "data"),
			"--auth-root-authentication-method=normal", "--skip-test-db")
		if err := s.run(cmd); err != nil {
			return err
		}
		return s.keepTLS()
	},
	command: func(s *Server, program string) *exec.Cmd {
		args := []string{"--no-defaults", "--datadir=" + filepath.Join(s.dir, "data"), "--socket=" + s.socket(),
			"--pid-file=" + filepath.Join(s.dir, "pid"),
			"--port=" + s.port(), "--bind-address=127.0.0.1", "--skip-name-resolve", "--character-set-server=utf8mb4",
			"--innodb-flush-log-at-trx-commit=2",
			"--innodb-log-file-size=64M", "--performance-schema=OFF"}
		if !s.options.SmallCache {
			args = append(args, "--innodb-buffer-pool-size=256M")
		}
		if s.options.TLSCert != "" {
			args = append(args, "--ssl-cert="+filepath.Join(s.dir, filepath.Base(s.options.TLSCert)),
				"--ssl-key="+filepath.Join(s.dir, filepath.Base(s.options.TLSKey)))
		}
		switch {
		case s.options.ReplicaOf != nil:
			args = append(args, "--server-id=2", "--read-only=ON", "--relay-log="+filepath.Join(s.dir, "relay"))
		case s.options.Replicates:
			args = append(args, "--server-id=1", "--log-bin="+filepath.Join(s.dir, "binlog"), "--binlog-format=ROW")
		}
		if s.options.RequireTLS {
			args = append(args, "--require-secure-transport=ON")
		}
		return exec.Command(program, args...)
	},
	connect: func(ctx context.Context, s *Server, database string) (session, error) {
		config := mysql.NewConfig()
		config.User, config.Net, config.Addr, config.DBName = "root", "unix", s.socket(), database
		config.Logger = log.New(io.Discard, "", 0)
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(1) // so that locks and settings last
		if err := db.PingContext(ctx); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return mariadbSession{db}, nil
	},
	follow: func(s *Server) error {
		const user = "replicator"
		primary := s.options.ReplicaOf
		err := primary.exec("", "CREATE USER IF NOT EXISTS '"+user+"'@'%' IDENTIFIED BY 'replica'",
			"GRANT REPLICATION SLAVE ON *.* TO '"+user+"'@'%'")
		if err != nil {
			return err
		}
		return s.exec("", "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT="+primary.port()+","+
			" MASTER_USER='"+user+"', MASTER_PASSWORD='replica',"+
			" MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", "START SLAVE")
	},
	dsn: func(s *Server, user, password, database string) string {
		return fmt.Sprintf("%s:%s@tcp(%s)/%s", user, password, s.Addr, database)
	},
}

func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

type mariadbSession struct{ db *sql.DB }

func (s mariadbSession) run(ctx context.Context, statement string, row func([]string)) error {
	rows, err := s.db.QueryContext(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		texts, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range texts {
			into[i] = &texts[i]
		}
		if row != nil {
			if err := rows.Scan(into...); err != nil {
				return err
			}
			row(texts)
		}
	}
	return rows.Err()
}

func (s mariadbSession) close() { _ = s.db.Close() }
