// Package fleet simulates DEAs on a real NATS: they heartbeat, start, stop, crash and evacuate instances in the DEA's
// own wire format. It does not know the Cloud Controller, which it meets in messages, and which asks it where to place
// an instance.
//
// It is light enough for a million instances on a fraction of a core: a DEA's encoded heartbeat is kept until something
// changes, and one goroutine a connection sends the heartbeats of many DEAs.
package fleet
