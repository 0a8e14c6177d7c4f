// Package router is the simulated router: a real HTTP reverse proxy whose routes come from router.register over NATS,
// after the model of gorouter.
//
// A route that nobody registers again is pruned after the stale threshold, but only while NATS is up: a router that
// hears nothing does not know which routes have ended. When NATS is back, every route gets a whole threshold anew.
// gorouter does so with suspend_pruning_if_nats_unavailable; Options.PruneWithoutNATS is its behaviour without.
package router
