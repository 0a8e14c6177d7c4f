//go:build lean

package sqldb

import "errors"

// sqliteDialect stands for the driver that a program built with the tag lean does not have.
var sqliteDialect = dialect{absent: errors.New("desired.sql.driver: sqlite is not in this program: use postgres or mysql, " +
	"or build hm without the tag lean (go build ./cmd/hm)")}
