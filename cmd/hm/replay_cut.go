package main

import (
	"fmt"
	"io"
	"sync"

	"hm/internal/recording"
)

// cuts notes which files of a recording end early. They may be read several times, and by several goroutines.
type cuts struct {
	mu    sync.Mutex
	files []string
	lines map[string]int
}

// allow lets the sources end early.
func (c *cuts) allow(sources []recording.Source) {
	c.lines = map[string]int{}
	for i := range sources {
		name := sources[i].Name
		sources[i].OnTruncated = func(line int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.lines[name] == 0 {
				c.files = append(c.files, name)
			}
			c.lines[name] = line
		}
	}
}

// tell says which files that were.
func (c *cuts) tell(out io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.files {
		if _, err := fmt.Fprintf(out, "%s ends early, behind line %d; what there is of it was played\n", name, c.lines[name]); err != nil {
			return err
		}
	}
	return nil
}
