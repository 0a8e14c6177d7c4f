package ccpub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"hm/commands"
)

const (
	maxBody  = 16 << 10               // of an answer; what comes beyond is not read
	bodyTime = 200 * time.Millisecond // for the body of an answer; the status alone decides
)

// post posts one command, once. It gives what the answer means, or the error that there was none.
func (b *batch) post(ctx context.Context, action commands.Action, url string, body []byte) (verdict, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return verdict{}, failure{ErrRefused, err.Error()}
	}
	// Without GetBody the transport cannot send the request again, whatever it finds out about the connection.
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/json")
	if b.options.Username != "" {
		req.SetBasicAuth(b.options.Username, b.options.Password)
	}
	began := time.Now()
	a, s, err := b.request(ctx, req)
	if b.options.Observe != nil {
		b.options.Observe(action, a.status, time.Since(began))
	}
	if err != nil {
		hung := errors.Is(ctx.Err(), context.DeadlineExceeded)
		if hung || ctx.Err() == nil { // else this node gave up by itself
			b.failed(true, hung, err.Error(), began)
		}
		if s.certainlyNotSent(ctx) {
			return verdict{}, failure{ErrNotSent, err.Error()}
		}
		return verdict{}, failure{ErrUnknown, err.Error()}
	}
	v := judge(action, a)
	if v.byGateway {
		b.failed(true, false, v.err.Error(), began)
	} else {
		b.answered(true, began)
	}
	return v, nil
}

// request sends a request once and reads its answer. The error says in which phase it failed.
func (p *Publisher) request(ctx context.Context, req *http.Request) (answer, *sending, error) {
	s := &sending{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req = req.WithContext(httptrace.WithClientTrace(ctx, s.trace()))
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "hm")
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return answer{}, s, fmt.Errorf("%s: %w", s, err)
	}
	defer resp.Body.Close()
	timer := time.AfterFunc(bodyTime, cancel)
	defer timer.Stop()
	start, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // a body that ends early changes nothing
	return readAnswer(resp.StatusCode, resp.Header.Get("Location"), start), s, nil
}

// sending is how far a request has come. The hooks of a trace may run on other goroutines.
type sending struct {
	connected atomic.Bool
	written   atomic.Bool // all of it
}

func (s *sending) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				s.written.Store(true)
			}
		},
	}
}

// certainlyNotSent reports whether a request that failed cannot have had an effect: there was no connection, or the
// connection ended before it had taken the whole request. If ctx ended, the transport may still be writing.
func (s *sending) certainlyNotSent(ctx context.Context) bool {
	return !s.connected.Load() || ctx.Err() == nil && !s.written.Load()
}

func (s *sending) String() string {
	switch {
	case s.written.Load():
		return "no answer"
	case s.connected.Load():
		return "sending failed"
	}
	return "no connection"
}
