// Package sim is a simulated Cloud Foundry on a real NATS: a Cloud Controller with its apps, its bulk API and its
// respondent to the health manager's commands, and a fleet of DEAs that heartbeat, start, stop, crash and
// evacuate instances in the DEA's own wire format. `hm sim` and `hm dev` run it, and the integration tests hold
// hm against it.
//
// The simulation knows the truth, which the health manager can only hear about: State says how far the two worlds
// agree, and every command is kept with what the Cloud Controller decided on it and what it would have done.
//
// Three things make it light enough for a fleet of a million instances on a fraction of a core: a DEA's encoded
// heartbeat is kept until something changes, one goroutine a connection sends the heartbeats of many DEAs, and the
// totals are kept per app and counted anew only for apps that changed.
//
// The Cloud Controller's apps are read from memory. With a database they are kept in there too, in the tables that a
// real one has: each change is a transaction there before it counts here, so the bulk API and the tables say the same.
//
// Locks: controller.mu may be held while fleet.mu is taken, never the other way round. Neither is held while
// something is published; controller.mu is held while the database takes a change, for 5 s at the most.
package sim
