package configimport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// decodeJSON reads a JSON object. It refuses a key that is there twice, since one of the two would be ignored, and
// anything that follows the object.
func decodeJSON(data []byte) (object, error) {
	if len(data) > MaxSize {
		return nil, errTooLarge
	}
	r := jsonReader{Decoder: json.NewDecoder(bytes.NewReader(data)), data: data}
	r.UseNumber()
	value, err := r.value(maxDepth)
	if err == nil {
		if _, more := r.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the JSON object")
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the JSON ends early")
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.line(), err)
	}
	top, ok := value.(object)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	return top, nil
}

type jsonReader struct {
	*json.Decoder
	budget
	data []byte
}

// line is the line that is being read.
func (r *jsonReader) line() int {
	return 1 + bytes.Count(r.data[:min(r.InputOffset(), int64(len(r.data)))], []byte("\n"))
}

// value reads one value token by token.
func (r *jsonReader) value(depth int) (any, error) {
	token, err := r.Token()
	if err == nil {
		err = r.spend(depth)
	}
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		if n, err := token.Int64(); err == nil {
			return n, nil
		}
		return token.Float64()
	case json.Delim:
		if token == '[' {
			return r.list(depth - 1)
		}
		return r.object(depth - 1)
	}
	return token, nil
}

func (r *jsonReader) object(depth int) (any, error) {
	o, seen := object{}, map[string]bool{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return nil, err
		}
		e := entry{name: token.(string), line: r.line()} // the decoder returns nothing else here
		if seen[e.name] {
			return nil, fmt.Errorf("key %.60q is there twice", e.name)
		}
		seen[e.name] = true
		if e.value, err = r.value(depth); err != nil {
			return nil, err
		}
		o = append(o, e)
	}
	_, err := r.Token() // the closing one
	return o, err
}

func (r *jsonReader) list(depth int) (any, error) {
	list := []any{}
	for r.More() {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.Token()
	return list, err
}
