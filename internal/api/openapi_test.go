package api_test

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"hm/internal/api/apitest"
)

// described is the description of the API, as the server gives it, made stricter: an answer may have no fields that it
// does not name.
var described = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	for _, s := range doc.Components.Schemas {
		if none := false; s.Value.Type.Is("object") {
			s.Value.AdditionalProperties = openapi3.BoolSchema{Has: &none}
		}
	}
	return legacy.NewRouter(doc)
})

// maxChecked is the size of answers up to which tests compare each with the description, in bytes.
const maxChecked = 24 << 10

// asDescribed compares an answer with the description of the API. Every test of this package that asks does so.
func asDescribed(t *testing.T, req *http.Request, resp *http.Response, raw []byte) {
	t.Helper()
	router, err := described()
	if err != nil {
		t.Fatal(err)
	}
	at := *req
	at.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	route, params, err := router.FindRoute(&at)
	if err != nil || len(raw) > maxChecked || resp.Header.Get("Content-Encoding") != "" || resp.StatusCode == http.StatusMethodNotAllowed {
		return
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: &at, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if media := resp.Header.Get("Content-Type"); strings.Contains(media, "json") && !strings.Contains(media, "jsonl") {
		in.SetBodyBytes(raw)
	} else {
		in.Options.ExcludeResponseBody = true
	}
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		t.Errorf("%s %s: the answer is not as openapi.yaml says: %.2000v", req.Method, req.URL, err)
	}
}

// TestOpenAPIIsValid: the document is OpenAPI 3.1, and the server gives it to those who ask.
func TestOpenAPIIsValid(t *testing.T) {
	resp, raw := ask(t, "GET", serve(t, apitest.Calm().Options())+"/openapi.yaml", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/yaml" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("version %s", doc.OpenAPI)
	}
	resp, again := ask(t, "GET", serve(t, apitest.Calm().Options())+"/openapi.yaml", "", "If-None-Match", resp.Header.Get("ETag"))
	if resp.StatusCode != http.StatusNotModified || len(again) > 0 {
		t.Errorf("with its tag: %d, %d bytes", resp.StatusCode, len(again))
	}
	if bytes.Contains(raw, []byte("\t")) {
		t.Error("it has tabs")
	}
}
