package ptytest

import "testing"

// TestTheScreenShowsWhatATerminalShows writes the sequences that the live view uses, whole and byte by byte.
func TestTheScreenShowsWhatATerminalShows(t *testing.T) {
	for name, tc := range map[string]struct{ written, want string }{
		"lines":            {"ab\r\ncd", "ab\ncd\n"},
		"colours":          {"\x1b[1;31mab\x1b[m", "ab\n\n"},
		"moves":            {"\x1b[2;3Hx\x1b[1;1Hy\x1b[3dz\x1b[4Gw", "y\n  x\n z w"},
		"overwritten":      {"abcdef\x1b[3D12\x1b[1P", "abc12\n\n"},
		"erased":           {"abcdef\x1b[1;3H\x1b[K\x1b[2;1Hxyz\x1b[1;2H\x1b[X", "a\nxyz\n"},
		"erased all":       {"abc\r\ndef\x1b[2J", "\n\n"},
		"repeated":         {"-\x1b[3b", "----\n\n"},
		"wide":             {"漢a\b\b\x1b[1;2H", "漢a\n\n"},
		"scrolled":         {"a\r\nb\r\nc\r\nd", "b\nc\nd"},
		"lines taken out":  {"a\r\nb\r\nc\x1b[1;1H\x1b[1M", "b\nc\n"},
		"lines put in":     {"a\r\nb\r\nc\x1b[2;1H\x1b[1L", "a\n\nb"},
		"titles and modes": {"\x1b]0;title\a\x1b[?1049h\x1b[?25la\x1bP+q544e\x1b\\b", "ab\n\n"},
		"a full line":      {"0123456789ab", "0123456789\nab\n"},
	} {
		t.Run(name, func(t *testing.T) {
			whole, bytewise := NewScreen(10, 3), NewScreen(10, 3)
			_, _ = whole.Write([]byte(tc.written))
			for i := range len(tc.written) {
				_, _ = bytewise.Write([]byte{tc.written[i]})
			}
			if got := whole.String(); got != tc.want || len(whole.Unknown()) > 0 {
				t.Errorf("shown is %q, want %q; not known are %v", got, tc.want, whole.Unknown())
			}
			if got := bytewise.String(); got != tc.want {
				t.Errorf("byte by byte, shown is %q, want %q", got, tc.want)
			}
		})
	}
}
