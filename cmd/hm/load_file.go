package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// decodeFile reads a configuration file in any of the formats. A duplicate key is an error, as is a second document:
// one of the two would be ignored.
func decodeFile(path string) (map[string]any, error) {
	decode := map[string]func([]byte) (map[string]any, error){
		".yaml": decodeYAML, ".yml": decodeYAML, ".json": decodeJSON, ".toml": decodeTOML,
	}[strings.ToLower(filepath.Ext(path))]
	if decode == nil {
		return nil, withHint(fmt.Errorf("%s: unknown file extension", path), "name the file .yaml, .yml, .json or .toml")
	}
	data, err := readLimited(path, maxConfigFile)
	if err != nil {
		return nil, err
	}
	values, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return values, nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: larger than the limit of %d bytes", path, limit)
	}
	return data, nil
}

func decodeYAML(data []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var values map[string]any
	if err := dec.Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var second any
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second YAML document follows the first: join them")
	}
	return values, nil
}

func decodeTOML(data []byte) (map[string]any, error) {
	var values map[string]any
	err := toml.Unmarshal(data, &values)
	var at *toml.DecodeError
	if errors.As(err, &at) {
		row, column := at.Position()
		return nil, fmt.Errorf("line %d, column %d: %w", row, column, err)
	}
	return values, err
}

func decodeJSON(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	value, err := jsonValue(dec)
	if errors.Is(err, io.EOF) {
		err = errors.New("the JSON ends early")
	}
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the JSON object")
		}
	}
	if err != nil {
		line := 1 + bytes.Count(data[:min(dec.InputOffset(), int64(len(data)))], []byte("\n"))
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	values, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	return values, nil
}

// jsonValue reads one value token by token, since json.Unmarshal silently takes the last of duplicate keys.
func jsonValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	delim, open := token.(json.Delim)
	if err != nil || !open {
		return token, err
	}
	object, list := map[string]any{}, []any{}
	for dec.More() {
		var key string
		if delim == '{' {
			token, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key = token.(string) // the decoder returns nothing else here
			if _, twice := object[key]; twice {
				return nil, fmt.Errorf("key %.60q is there twice", key)
			}
		}
		value, err := jsonValue(dec)
		if err != nil {
			return nil, err
		}
		if delim == '{' {
			object[key] = value
		} else {
			list = append(list, value)
		}
	}
	if _, err := dec.Token(); err != nil { // the closing one
		return nil, err
	}
	if delim == '{' {
		return object, nil
	}
	return list, nil
}
