package dashboard

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Limits of the pages that are kept.
const (
	cacheFor    = time.Second // how long a page is used for all browsers
	cachedPages = 64
	cachedBytes = 24 << 20
)

// renderers is how many pages are made at a time; further requests wait. Half of the processors stay free for the
// commands.
func renderers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// cache keeps the newest pages for a moment, so that ten browsers cost little more than one. A page is made by one
// request; the others that want it wait.
type cache struct {
	renderers chan struct{}

	mu    sync.Mutex
	epoch uint64 // counts the changes that were made here: a page from before a change is not used after it
	pages map[string]*cachedPage
	bytes int
}

type cachedPage struct {
	making chan struct{} // has an element while the page is made
	page   *rendered     // nil before the first time. Guarded by cache.mu, as the following
	began  time.Time
	epoch  uint64
}

func newCache() *cache {
	return &cache{renderers: make(chan struct{}, renderers()), pages: map[string]*cachedPage{}}
}

// changed says that something was changed through this dashboard.
func (c *cache) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
}

// get gives a page that is at most cacheFor old, or makes it.
func (c *cache) get(ctx context.Context, key string, render func() *rendered) (*rendered, error) {
	entry, page := c.lookup(key)
	if page != nil {
		return page, nil
	}
	select {
	case entry.making <- struct{}{}:
		defer func() { <-entry.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if page := c.fresh(entry); page != nil { // another request made it meanwhile
		return page, nil
	}
	select {
	case c.renderers <- struct{}{}:
		defer func() { <-c.renderers }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began, epoch := time.Now(), c.now()
	page = render()
	page.began = began
	if ctx.Err() == nil {
		c.keep(key, entry, page, began, epoch)
	}
	return page, nil
}

func (c *cache) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// lookup gives the entry of a key, and its page if that is fresh.
func (c *cache) lookup(key string) (*cachedPage, *rendered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.pages[key]
	if entry == nil {
		c.makeRoom()
		entry = &cachedPage{making: make(chan struct{}, 1)}
		c.pages[key] = entry
		return entry, nil
	}
	return entry, c.freshLocked(entry)
}

func (c *cache) fresh(entry *cachedPage) *rendered {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.freshLocked(entry)
}

func (c *cache) freshLocked(entry *cachedPage) *rendered {
	if entry.page == nil || entry.epoch != c.epoch || time.Since(entry.began) >= cacheFor {
		return nil
	}
	return entry.page
}

// keep keeps a page in its entry, unless the entry is gone.
func (c *cache) keep(key string, entry *cachedPage, page *rendered, began time.Time, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages[key] != entry {
		return
	}
	c.bytes += len(page.live) - entry.size()
	entry.page, entry.began, entry.epoch = page, began, epoch
	for c.bytes > cachedBytes && len(c.pages) > 1 {
		c.dropOldest(entry)
	}
	if c.bytes > cachedBytes {
		c.drop(key)
	}
}

func (e *cachedPage) size() int {
	if e.page == nil {
		return 0
	}
	return len(e.page.live)
}

// makeRoom drops entries until there is room for one more.
func (c *cache) makeRoom() {
	for len(c.pages) >= cachedPages {
		c.dropOldest(nil)
	}
}

func (c *cache) dropOldest(except *cachedPage) {
	oldest := ""
	for key, e := range c.pages {
		if e != except && (oldest == "" || e.began.Before(c.pages[oldest].began)) {
			oldest = key
		}
	}
	c.drop(oldest)
}

func (c *cache) drop(key string) {
	if e := c.pages[key]; e != nil {
		c.bytes -= e.size()
		delete(c.pages, key)
	}
}
