package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mask is shown in place of a secret.
const mask = "********"

// Masked gives a copy of c without its secrets, for printing.
func (c Config) Masked() Config {
	for _, k := range keys {
		switch p := k.field(&c).(type) {
		case *string:
			*p = k.maskText(*p)
		case *[]string:
			*p = slices.Clone(*p)
			for i, s := range *p {
				(*p)[i] = k.maskText(s)
			}
		}
	}
	return c
}

// maskText hides a secret, and the password in a URL.
func (k Key) maskText(s string) string {
	if k.Secret {
		if s == "" {
			return ""
		}
		return mask
	}
	return maskURL(s)
}

// maskURL hides the text between "://" and "@", except the name of a user. It also works on texts that are not valid
// URLs, because error messages quote those.
func maskURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 || (!ok && !strings.Contains(rest[:at], ":")) {
		return s
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	hidden := mask // a user alone is a NATS token
	if hasPassword {
		hidden = user + ":" + mask
	}
	if ok {
		scheme += "://"
	}
	return scheme + hidden + rest[at:]
}

// show gives a value for people, without secrets and not too long.
func (k Key) show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return clip(k.maskText(v))
	case []string:
		shown := make([]string, len(v))
		for i, s := range v {
			shown[i] = k.maskText(s)
		}
		return clip(strings.Join(shown, ","))
	case time.Duration:
		return formatDuration(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if k.Secret {
		return mask
	}
	if list, ok := v.([]any); ok {
		shown := make([]string, 0, len(list))
		for _, e := range list {
			shown = append(shown, k.show(e))
		}
		return clip("[" + strings.Join(shown, ", ") + "]")
	}
	return clip(maskURL(fmt.Sprint(v)))
}

func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// formatDuration is time.Duration.String without zero units at the end: 2m instead of 2m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// userInURL reports whether a URL contains a user or a token.
func userInURL(s string) bool {
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	return err == nil && u.User != nil
}
