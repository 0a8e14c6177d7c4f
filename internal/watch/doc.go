// Package watch watches a cluster of hm nodes through its API, and keeps what it hears as a view model for package
// liveview: hm top shows it, and hm dev adds its sandbox to it.
//
// A Watcher asks one node at a time for its status, and for the lists that the screen shows. It follows the events of
// the cluster, so that a change is asked for when it happens. If the node does not answer, it asks the next one. It never
// passes old numbers off as new: a frame says since when nothing was heard.
package watch
