//go:build !race

// Package browsertest looks at the dashboard in a real browser: at pages of nodes with a recorded state that does not
// change, and at pages of a whole sandbox with its faults. It needs Debian's package chromium.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestMain(m *testing.M) {
	code := m.Run()
	chromium.close()
	os.Exit(code)
}

// browser is one Chromium. All tests share it, since it takes a second to start.
type browser struct {
	start sync.Once
	ctx   context.Context // nil: it did not start
	end   context.CancelFunc
	err   error
}

var chromium browser

// context returns the context of the browser. Contexts of tabs are made from it. Without Chromium the test is skipped,
// or fails if HM_TEST_REQUIRE=all is set.
func (b *browser) context(t testing.TB) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("HM_TEST_REQUIRE") == "all":
		t.Fatal("chromium is missing, and HM_TEST_REQUIRE=all requires it: install Debian's package chromium")
	default:
		t.Skip("chromium is missing: install Debian's package chromium")
	}
	b.start.Do(func() { b.err = b.open(program) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.ctx
}

func (b *browser) open(program string) error {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("hide-scrollbars", false), // a scroll bar takes width, as it does for people
		chromedp.Flag("no-proxy-server", true),  // every host that is reached is on this machine
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's own sandbox does not work for root
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(allocator, chromedp.WithErrorf(ignoreUnknownEvents))
	if err := chromedp.Do(ctx); err != nil {
		endBrowser()
		endAllocator()
		return fmt.Errorf("starting %s: %w", program, err)
	}
	b.ctx, b.end = ctx, func() { endBrowser(); endAllocator() }
	return nil
}

// ignoreUnknownEvents takes chromedp's own messages. A Chromium that is newer than chromedp sends events that chromedp
// does not know; they do not matter here.
func ignoreUnknownEvents(string, ...any) {}

// close ends the browser and waits for it.
func (b *browser) close() {
	if b.ctx == nil {
		return
	}
	_ = chromedp.Cancel(b.ctx) // waits until the process has ended
	b.end()
}
