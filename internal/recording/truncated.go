package recording

import "sync"

// Truncations has the files of a recording that end early. It is safe for concurrent use.
type Truncations struct {
	mu    sync.Mutex
	names []string
	lines map[string]int
}

// AllowTruncated allows the sources to end early, and collects those that do. It sets their OnTruncated.
func AllowTruncated(sources []Source) *Truncations {
	t := &Truncations{lines: map[string]int{}}
	for i := range sources {
		name := sources[i].Name
		sources[i].OnTruncated = func(line int) { t.add(name, line) }
	}
	return t
}

// add takes in that a file ends early. Several readers may read it.
func (t *Truncations) add(name string, line int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.lines[name]; !known {
		t.names = append(t.names, name)
	}
	t.lines[name] = line
}

// Each calls f for each file that ends early, with the number of its last complete line. f must not use t.
func (t *Truncations) Each(f func(name string, line int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range t.names {
		f(name, t.lines[name])
	}
}
