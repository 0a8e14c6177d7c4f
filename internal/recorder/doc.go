// Package recorder writes recordings: by listening on NATS, from a running node's API, and, in that node, with a hook
// that its parts call. internal/recording has the format.
package recorder
