// Package replay records what hm hears, reads such recordings, and plays them in virtual time through the very
// code of the daemon: intake, reconcile step, diff, planning, gate and guards. The replicated log is replaced by
// direct Apply, the clock by the recording's times, and the publisher by a list. The same files and policy give
// the same result, byte for byte.
//
// A recording is JSON lines, optionally compressed, in the order of time; docs/replay.md describes it.
package replay
