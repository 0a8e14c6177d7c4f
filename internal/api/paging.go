package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Sizes of a page, in items.
const (
	defaultPage = 1000
	maxPage     = 10_000
	maxCursor   = 2048 // bytes
)

// pageOf reads the parameters limit and cursor. It fills cursor if the request has one, and then resumed is true.
func pageOf(r *http.Request, cursor any) (limit int, resumed bool, err error) {
	q := r.URL.Query()
	limit = defaultPage
	if text := q.Get("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return 0, false, badRequest("limit %.20q must be a number from 1 to %d", text, maxPage)
		}
	}
	text := q.Get("cursor")
	if text == "" {
		return limit, false, nil
	}
	if len(text) > maxCursor {
		return 0, false, badCursor()
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, false, badCursor()
	}
	if err := decodeStrict(bytes.NewReader(raw), cursor); err != nil {
		return 0, false, badCursor()
	}
	return limit, true, nil
}

func badCursor() *Problem {
	return problem(http.StatusBadRequest, "bad-cursor", "the cursor is not one that this API gave out", "start again without a cursor")
}

// setNext sets the headers that lead to the next page.
func setNext(w http.ResponseWriter, r *http.Request, cursor any) error {
	raw, err := json.Marshal(cursor)
	if err != nil {
		return fmt.Errorf("encoding a cursor: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	q := r.URL.Query()
	q.Set("cursor", text)
	next := url.URL{Path: r.URL.Path, RawQuery: q.Encode()}
	w.Header().Set(headerCursor, text)
	w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	return nil
}

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more after the JSON value")
	}
	return nil
}
