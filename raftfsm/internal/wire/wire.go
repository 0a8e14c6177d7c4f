// Package wire has the protobuf messages of log entries and snapshots. Only raftfsm uses it.
package wire

//go:generate sh -c "protoc --plugin=protoc-gen-go=$DOLLAR(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative entry.proto snapshot.proto"
