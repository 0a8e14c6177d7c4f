package words

import (
	"fmt"
	"strings"
)

// Count returns "1 app" or "2 apps".
func Count[N int | int64 | uint64 | uint32](n N, singular string) string {
	if n == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %ss", n, singular)
}

// AndMore lists the first names of n.
func AndMore(names []string, n int) string {
	text := strings.Join(names, ", ")
	if more := n - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Short shortens a guid of Cloud Foundry to its first eight characters. Arguments can be shortened in the same way.
func Short(id string) string {
	if len(id) == 36 || len(id) == 32 {
		return id[:8]
	}
	return id
}

// IDs returns what shows ids: shortened, or in full.
func IDs(wide bool) func(string) string {
	if wide {
		return func(id string) string { return id }
	}
	return Short
}
