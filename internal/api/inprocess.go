package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// newInProcessClient gives a client that asks a handler in this process, without a network.
func newInProcessClient(h http.Handler) *Client {
	return &Client{
		base: &url.URL{Scheme: "http", Host: "this-node"},
		http: &http.Client{Transport: inProcess{handler: h}, Timeout: defaultTimeout},
	}
}

// For gives a client that asks in this process in the name of the one who sent r, whom the API has let in. So the API
// records who asked for a change, and nobody's credentials are looked at twice. It costs little; r must outlive it.
func (c *Client) For(r *http.Request) *Client {
	asking := *c
	if t, ok := c.http.Transport.(inProcess); ok {
		t.asker = r
		asking.http = &http.Client{Transport: t, Timeout: c.http.Timeout}
	}
	return &asking
}

// inProcess passes requests to a handler in this process. It keeps the whole answer, so it cannot follow a stream.
type inProcess struct {
	handler http.Handler
	asker   *http.Request // in the name of whose sender it asks; nil: nobody's
}

// RoundTrip lets the handler answer on the goroutine of the caller.
func (t inProcess) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	asked := r.Clone(r.Context())
	asked.RequestURI = r.URL.RequestURI()
	if t.asker != nil {
		asked.RemoteAddr = t.asker.RemoteAddr
		asked = withPrincipal(asked, principalOf(t.asker))
	}
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	defer asked.Body.Close()
	answer := &keptAnswer{header: http.Header{}}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			err = errors.New("the answer broke off")
		}
	}()
	t.handler.ServeHTTP(answer, asked)
	if answer.tooLarge {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	if answer.status == 0 {
		answer.status = http.StatusOK
	}
	return &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header, Body: &keptBody{*bytes.NewReader(answer.body.Bytes())}, ContentLength: int64(answer.body.Len()), Request: r,
	}, nil
}

// keptAnswer keeps the answer of a handler.
type keptAnswer struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	tooLarge bool
}

func (a *keptAnswer) Header() http.Header { return a.header }

func (a *keptAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *keptAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		a.tooLarge = true
		return 0, http.ErrContentLength
	}
	return a.body.Write(b)
}

type keptBody struct{ bytes.Reader }

func (*keptBody) Close() error { return nil }
