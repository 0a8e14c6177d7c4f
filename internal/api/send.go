package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"
)

// compressFrom is the size from which an answer is compressed, if the client takes that.
const compressFrom = 16 << 10

// send sends a JSON answer, compressed if it is large and the client accepts gzip.
func send(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", jsonType)
	if h.Get("ETag") == "" {
		h.Set("Cache-Control", "no-store")
	} else {
		h.Set("Cache-Control", "private, no-cache") // it may be kept, and is asked for again with its tag
	}
	if len(body) >= compressFrom {
		h.Add("Vary", "Accept-Encoding")
		if rec, ok := w.(*recorder); ok && acceptsGzip(rec.request.Header) {
			h.Set("Content-Encoding", "gzip")
			body = compressed(body)
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return errGone
	}
	return nil
}

// acceptsGzip reports whether a client takes an answer in gzip.
func acceptsGzip(h http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, quality, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			quality = strings.ReplaceAll(quality, " ", "")
			return !strings.HasPrefix(quality, "q=0") || strings.Trim(quality, "q=0.") != ""
		}
	}
	return false
}

// compressors are reused: each has a large table.
var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	return z
}}

func compressed(body []byte) []byte {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	var out bytes.Buffer
	out.Grow(len(body) / 8)
	z.Reset(&out)
	_, _ = z.Write(body) // writing to memory never fails
	_ = z.Close()
	return out.Bytes()
}

// writeTagged answers a GET with v and an ETag, or with 304 if the client has that already. The tag is a hash of the whole
// answer, but for its basis and for times that pass by themselves: same is v without them, or nil if v has none. So it
// changes with everything else that the answer says, whatever that depends on.
func writeTagged(w http.ResponseWriter, b Basis, v, same any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	tagged := body
	if same != nil {
		if tagged, err = json.Marshal(same); err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
	}
	h := w.Header()
	sum := xxh3.New()
	for _, part := range [][]byte{tagged, []byte(h.Get(headerTotal)), []byte(h.Get(headerCursor)), []byte(h.Get(headerGate))} {
		_, _ = sum.Write(part) // it never fails
		_, _ = sum.Write([]byte{0})
	}
	digest := sum.Sum128().Bytes()
	tag := fmt.Sprintf(`W/"%x"`, digest)
	b.setHeaders(h)
	h.Set("ETag", tag)
	if rec, ok := w.(*recorder); ok && matches(rec.request.Header, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return send(w, http.StatusOK, append(body, '\n'))
}

// matches reports whether If-None-Match has a tag, by the weak comparison.
func matches(h http.Header, tag string) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("If-None-Match"), ","), ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
