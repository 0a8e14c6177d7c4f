// Package liveview shows a cluster of hm nodes, or a recording of one, on a terminal.
//
// Render draws a Frame as text that fits a terminal. It is pure: it reads no terminal and no clock. Show runs the live
// view of any ViewModel: hm dev's is sandbox.View, and Recording.Play uses its own for hm replay --speed. Timeline,
// Progress and Pace show a replay without the live view.
package liveview
