//go:build !race

package browsertest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// complaints collects what a page must not do: an error or a warning on the console, an exception that nobody caught,
// a violation of the content security policy, a request that failed, and a request to another host.
type complaints struct {
	host string // the only host that pages may ask

	mu        sync.Mutex
	found     []string
	tolerated []string // texts: complaints with one of them do not count
	requests  map[network.RequestID]string
	sent      int   // requests
	received  int64 // bytes of bodies, as sent
}

// tolerate lets complaints pass that contain a text, such as the refused connections while a node is closed.
func (c *complaints) tolerate(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tolerated = append(c.tolerated, text)
}

// take returns the complaints since the last call.
func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := slices.DeleteFunc(c.found, func(f string) bool {
		return slices.ContainsFunc(c.tolerated, func(t string) bool { return strings.Contains(f, t) })
	})
	c.found = nil
	return found
}

// asked returns how many requests the tab has sent.
func (c *complaints) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// hear takes an event of the browser.
func (c *complaints) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			c.add("console.%s: %s", e.Type, arguments(e.Args))
		}
	case *runtime.EventExceptionThrown:
		c.add("an exception that nobody caught: %s", thrown(e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			c.add("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		c.request(e.RequestID, e.Request.URL)
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			c.add("%s answers %d", e.Response.URL, e.Response.Status)
		}
	case *network.EventLoadingFinished:
		c.received += int64(e.EncodedDataLength)
	case *network.EventLoadingFailed:
		// The browser cancels what a page that is left was loading.
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			c.add("request to %s failed: %s %s", c.requests[e.RequestID], e.ErrorText, e.BlockedReason)
		}
	}
}

func (c *complaints) request(id network.RequestID, target string) {
	if c.requests == nil {
		c.requests = map[network.RequestID]string{}
	}
	c.requests[id] = target
	c.sent++
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "data" && u.Host != c.host && target != "about:blank" {
		c.add("request to another host: %.200s", target)
	}
}

// maxComplaints bounds what is kept of one page.
const maxComplaints = 100

func (c *complaints) add(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(c.found) < maxComplaints && !slices.Contains(c.found, text) {
		c.found = append(c.found, text)
	}
}

// arguments gives the arguments of a call of console.error and the like as text.
func arguments(args []*runtime.RemoteObject) string {
	var texts []string
	for _, a := range args {
		if a.Description != "" {
			texts = append(texts, a.Description)
		} else {
			texts = append(texts, string(a.Value))
		}
	}
	return strings.Join(texts, " ")
}

func thrown(d *runtime.ExceptionDetails) string {
	if d.Exception != nil {
		return d.Text + " " + d.Exception.Description
	}
	return d.Text
}
