// Package sim is a simulated Cloud Foundry on a real NATS, made of a Cloud Controller (package cc) and a fleet of DEAs
// (package fleet). `hm sim` and `hm dev` run it, and the integration tests hold hm against it.
//
// The simulation knows what really runs, which the health manager knows only from heartbeats: State compares the two
// halves, and every command is kept with the Cloud Controller's decision and its effect.
//
// Locks: the Cloud Controller's may be held while the fleet's is taken, never the other way round. Neither is held
// while something is published.
package sim
