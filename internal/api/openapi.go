package api

import (
	_ "embed"
	"fmt"
	"net/http"
	"strconv"

	"github.com/zeebo/xxh3"
)

// openAPI describes the API: OpenAPI 3.1. A test makes it from the table of operations and from the types of the answers
// with their comments (go test ./internal/api -run OpenAPI -update).
//
//go:embed openapi.yaml
var openAPI []byte

const openAPIType = "application/yaml"

// serveOpenAPI answers GET /openapi.yaml.
func serveOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	tag := fmt.Sprintf(`"%x"`, xxh3.Hash(openAPI))
	h.Set("ETag", tag)
	if rec, ok := w.(*recorder); ok && matches(rec.request.Header, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", openAPIType)
	h.Set("Content-Length", strconv.Itoa(len(openAPI)))
	if _, err := w.Write(openAPI); err != nil {
		return errGone
	}
	return nil
}
