package cluster

import (
	"fmt"
	"math"
)

// headLength is the number of bytes that give the type and length of a msgpack value. A number is nothing but head.
func headLength(first byte) int {
	switch first {
	case 0xc4, 0xd9, 0xcc, 0xd0, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return 2
	case 0xc5, 0xda, 0xcd, 0xd1, 0xdc, 0xde, 0xc7:
		return 3
	case 0xc8:
		return 4
	case 0xc6, 0xdb, 0xce, 0xd2, 0xca, 0xdd, 0xdf:
		return 5
	case 0xc9:
		return 6
	case 0xcf, 0xd3, 0xcb:
		return 9
	}
	return 1
}

func bigEndian(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// wholeNumber reads the number in a head.
func wholeNumber(head []byte) (int64, error) {
	n := bigEndian(head[1:])
	switch first := head[0]; {
	case first < 0x80:
		return int64(first), nil
	case first >= 0xe0:
		return int64(int8(first)), nil
	case first == 0xc0: // nil
		return 0, nil
	case first >= 0xcc && first <= 0xcf:
		return int64(min(n, math.MaxInt64)), nil
	case first >= 0xd0 && first <= 0xd3:
		unused := 64 - 8*(len(head)-1)
		return int64(n<<unused) >> unused, nil
	}
	return 0, fmt.Errorf("%s is not a whole number", fieldSize)
}
