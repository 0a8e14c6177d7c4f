// Package faulttest is the fault bench: it runs a small Cloud Foundry with three hm nodes as processes, breaks it by a
// schedule that a seed gives, heals it, and judges what hm did.
//
// The judge believes only what the bench itself saw: the commands that each node put on NATS, the heartbeats and exits
// that DEAs sent, and what the simulated Cloud Controller and DEAs say of themselves. What hm says of itself is used to
// aim faults at the leader, and for the last question of all, whether the nodes' states are equal (I7).
//
// Plan makes a schedule (pure), World runs the processes, observer writes down what happens, Judge finds what broke an
// invariant (pure), and Run does all of it for one seed.
package faulttest
