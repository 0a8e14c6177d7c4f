// Package wire holds the protobuf messages that log entries and snapshots consist of. Only raftfsm speaks them.
package wire

//go:generate sh -c "protoc --plugin=protoc-gen-go=$DOLLAR(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative entry.proto snapshot.proto"
