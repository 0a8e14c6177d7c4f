package journal

import "strings"

// Events are kept in classes with a quota each, so that a storm of one class pushes out no event of another: after a
// night of crashes it is still known who paused.
type class int

const (
	classCommands  class = iota // command.*
	classInstances              // instance.*
	classDEAs                   // dea.*
	classRest                   // who leads, holds, reads, links, gates: rare, and wanted longest
	classOthers                 // other.*
	classes
)

// bucketNames are the buckets of the classes in the file.
var bucketNames = [classes][]byte{[]byte("commands"), []byte("instances"), []byte("deas"), []byte("rest"), []byte("others")}

func classOf(k Kind) class { return classOfSubject(subject(string(k))) }

// subject is the part of a kind before the dot.
func subject(kind string) string {
	s, _, _ := strings.Cut(kind, ".")
	return s
}

func classOfSubject(subject string) class {
	switch subject {
	case "command":
		return classCommands
	case "instance":
		return classInstances
	case "dea":
		return classDEAs
	case "other":
		return classOthers
	}
	return classRest
}

// quota bounds what is kept of one class.
type quota struct {
	entries int
	bytes   int64 // of the keys and encoded events
}

// quotas divides what may be kept. Commands, crashes and the commands of another health manager get most, since they
// happen most.
func quotas(entries int, bytes int64) (q [classes]quota) {
	for c := range q {
		q[c] = quota{entries, bytes / 4}
		if class(c) == classDEAs || class(c) == classRest {
			q[c] = quota{(entries + 1) / 2, bytes / 8}
		}
	}
	return q
}
