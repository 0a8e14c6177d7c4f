// Package replay plays recordings in virtual time through the code of the daemon: intake, reconcile step, diff,
// planning, gate and guards. Apply takes the place of the replicated log, the recording's times that of the clock, and
// a list that of the publisher. The same files and the same policy give the same result, byte for byte.
package replay
