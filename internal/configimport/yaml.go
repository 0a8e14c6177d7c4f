package configimport

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// decodeYAML reads a YAML mapping. It refuses a key that is there twice, a second document, and aliases, which the
// predecessor's configuration does not need and with which a short text can stand for a huge one.
func decodeYAML(data []byte) (object, error) {
	if len(data) > MaxSize {
		return nil, errTooLarge
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := dec.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second YAML document follows the first: leave one out")
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is not a YAML mapping")
	}
	var b budget
	value, err := b.yamlValue(document.Content[0], maxDepth)
	if err != nil {
		return nil, err
	}
	return value.(object), nil
}

func (b *budget) yamlValue(n *yaml.Node, depth int) (any, error) {
	if err := b.spend(depth); err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	switch {
	case n.Kind == yaml.ScalarNode:
		return yamlScalar(n)
	case n.Kind == yaml.AliasNode:
		return nil, fmt.Errorf("line %d: it has an alias (*%.60s): write the value in its place", n.Line, n.Value)
	case n.Kind == yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := b.yamlValue(c, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	o, seen := object{}, map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is not a text", key.Line)
		}
		if seen[key.Value] {
			return nil, fmt.Errorf("line %d: key %.60q is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		v, err := b.yamlValue(n.Content[i+1], depth-1)
		if err != nil {
			return nil, err
		}
		o = append(o, entry{name: key.Value, value: v, line: key.Line})
	}
	return o, nil
}

// yamlScalar gives the value of a scalar as the tag says. What is neither a number nor a truth value is text, such as a
// time.
func yamlScalar(n *yaml.Node) (any, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case uint64:
		return float64(v), nil
	case nil, bool, int64, float64, string:
		return v, nil
	}
	return n.Value, nil
}
