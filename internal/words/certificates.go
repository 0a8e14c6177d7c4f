package words

import (
	"fmt"
	"time"

	"hm/internal/api"
	"hm/internal/tlsfiles"
)

// certificateLines tells of certificates that expire soon, and of new ones that cannot be used. There are none if all
// is well.
func certificateLines(b api.Basis, all []api.TLSFiles) (lines []Line) {
	label := "tls"
	add := func(parts ...any) {
		lines = append(lines, named(label, parts...))
		label = ""
	}
	for _, f := range all {
		if f.Error != "" {
			add(f.Name+": ", bad("newer files are not in force"), fmt.Sprintf(" for %s: %s", Span(b, f.Since), f.Error))
		}
		for _, c := range f.Certificates {
			switch left := c.Expires.Sub(b.At.Time); {
			case left <= 0:
				add(c.Key+": ", bad("the certificate expired "+Ago(b, c.Expires)))
			case left < tlsfiles.WarnBefore:
				add(c.Key+": ", warn("the certificate expires in "+days(left)))
			}
		}
	}
	return lines
}

// days says a time of hours or days.
func days(d time.Duration) string {
	if n := int(d / (24 * time.Hour)); n > 0 {
		return Count(n, "day")
	}
	return api.Span(d)
}
