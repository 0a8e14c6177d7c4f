package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"hm/diff"
	"hm/internal/app"
)

// driftCursor names the last finding of a page, in a pass that was made at At.
type driftCursor struct {
	At   app.Time  `json:"t"`
	Due  app.Time  `json:"d"`
	Kind diff.Kind `json:"k"`
	App  app.GUID  `json:"a"`
	Ver  app.GUID  `json:"v"`
	Nth  uint32    `json:"n"`
	// Bucket and Digest belong to a listing that is filtered or sorted.
	Bucket diff.Bucket `json:"b,omitempty"`
	Digest uint32      `json:"q,omitempty"`
}

// maxCursorAge is how long after its first page a listing of drift may be continued.
const maxCursorAge = time.Hour

// gateHeader gives the gate for a listing of drift. That the node does not lead is not among its reasons.
func gateHeader(held []string) string {
	if len(held) == 0 {
		return "open"
	}
	return strings.Join(held, ",")
}

func parseKind(text string) (diff.Kind, error) {
	if text == "" {
		return diff.KindNone, nil
	}
	for _, k := range append(diff.Kinds(), diff.KindForeign) {
		if k.String() == text {
			return k, nil
		}
	}
	words := []string{}
	for _, k := range diff.Kinds() {
		words = append(words, k.String())
	}
	words = append(words, diff.KindForeign.String())
	return diff.KindNone, problem(http.StatusBadRequest, "bad-request", "there is no kind of drift "+strconv.Quote(cut(text)), "use one of "+strings.Join(words, ", "))
}

// cut shortens a text of a request, to quote it.
func cut(text string) string { return text[:min(len(text), 80)] }
