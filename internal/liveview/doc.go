// Package liveview draws what hm dev shows, and hm replay --speed: a frame of text that fits a terminal, made of the
// API's JSON types and of what the person at the keys has done. What a frame does not have is left out. It is pure: no
// terminal, no clock, no I/O. The same types give the totals that hm dev --plain prints.
package liveview
