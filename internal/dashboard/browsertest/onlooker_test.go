//go:build !race

package browsertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// onlooker does what the script of a page does in a tab, without a browser: it loads the page, follows the events, and
// asks for the changing part of the page after an event and every few seconds. Now and then it loads the page anew.
type onlooker struct {
	base, path string
	http       *http.Client

	mu       sync.Mutex
	took     []time.Duration // of each answer
	received int64           // bytes
	errs     []error
}

// reloadEvery is how often an onlooker loads its page anew.
const reloadEvery = 15 * time.Second

func newOnlooker(base, path string) *onlooker {
	return &onlooker{base: base, path: path, http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 6}}} // as browsers
}

var bodyData = regexp.MustCompile(`data-(every|after|follow)="([^"]*)"`)

// look looks until ctx ends.
func (o *onlooker) look(ctx context.Context) {
	defer o.http.CloseIdleConnections()
	for ctx.Err() == nil {
		o.lookOnce(ctx)
	}
}

// lookOnce loads the page and keeps it current for a while.
func (o *onlooker) lookOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reloadEvery)
	defer cancel()
	page := o.get(ctx, false)
	data := map[string]string{}
	for _, m := range bodyData.FindAllStringSubmatch(page, -1) {
		data[m[1]] = m[2]
	}
	every, err := strconv.Atoi(data["every"])
	if err != nil || every <= 0 {
		o.note(ctx, fmt.Errorf("%s does not say how often to renew it: %.200s", o.path, page))
		<-ctx.Done()
		return
	}
	heard := make(chan struct{}, 1)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { o.follow(ctx, strings.Fields(data["follow"]), data["after"], heard) })
	tick := time.NewTicker(time.Duration(every) * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-heard:
			time.Sleep(150 * time.Millisecond) // as the script, so that several events cost one request
		}
		o.get(ctx, true)
	}
}

// get asks for the page, or for the part of it that changes.
func (o *onlooker) get(ctx context.Context, part bool) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.base+o.path, nil)
	if err != nil {
		o.note(ctx, err)
		return ""
	}
	if part {
		req.Header.Set("Hm-Part", "live")
	}
	began := time.Now()
	resp, err := o.http.Do(req)
	if err != nil {
		o.note(ctx, err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", o.path, resp.Status)
	}
	o.note(ctx, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, time.Since(began))
	o.received += int64(len(body))
	return string(body)
}

// follow tells of the events that the page follows, until ctx ends.
func (o *onlooker) follow(ctx context.Context, kinds []string, after string, heard chan<- struct{}) {
	if len(kinds) == 0 {
		return
	}
	query := url.Values{"kind": kinds}
	if after != "" {
		query.Set("after", after)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.base+"/v1/events?"+query.Encode(), nil)
	if err != nil {
		o.note(ctx, err)
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := o.http.Do(req)
	if err != nil {
		o.note(ctx, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		o.note(ctx, fmt.Errorf("following events for %s: %s", o.path, resp.Status))
		return
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "id:") {
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	}
	o.note(ctx, lines.Err())
}

// note keeps an error, unless it comes from the end of ctx.
func (o *onlooker) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.errs) < 20 {
		o.errs = append(o.errs, err)
	}
}

// onlookers are several of them.
type onlookers []*onlooker

// lookAt lets one onlooker look at each path, until the function that it returns is called. That waits for their end.
func lookAt(ctx context.Context, base string, paths []string) (all onlookers, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	for _, p := range paths {
		o := newOnlooker(base, p)
		all = append(all, o)
		looking.Go(func() { o.look(ctx) })
	}
	return all, func() { cancel(); looking.Wait() }
}

// sums returns how many answers there were, how long the median and the slowest hundredth took, and the bytes.
func (all onlookers) sums() (answers int, median, p99 time.Duration, bytes int64, errs []error) {
	var took []time.Duration
	for _, o := range all {
		o.mu.Lock()
		took = append(took, o.took...)
		bytes += o.received
		errs = append(errs, o.errs...)
		o.mu.Unlock()
	}
	return len(took), quantile(took, 0.5), quantile(took, 0.99), bytes, errs
}

// quantile returns the value below which a share q of the durations is; 0 if there are none.
func quantile(of []time.Duration, q float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	of = slices.Clone(of)
	slices.Sort(of)
	return of[min(len(of)-1, int(q*float64(len(of))))]
}
