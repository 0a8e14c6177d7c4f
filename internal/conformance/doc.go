// Package conformance plays the neighbours of hm, field by field, against a real node: the Cloud Controller that asks,
// the one that is told what to start and stop, the one that serves the bulk API, and the DEAs of each time. This file's
// neighbours write and read their messages by hand: they share no code with hm, so that a mistake of hm is not repeated
// in what judges it. Every assertion names the id of the fact that it holds hm to (N01, D01, R01). docs/conformance.md
// says what is played.
package conformance
