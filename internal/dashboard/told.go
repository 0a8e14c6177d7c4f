package dashboard

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// told is the outcome of a change, which the next page tells.
type told struct {
	Text   string `json:"t"`
	Hint   string `json:"h,omitempty"`
	Failed bool   `json:"f,omitempty"`
}

// toldCookie carries an outcome to the next page. A cookie works through a load balancer before several nodes, and a
// link to a page cannot forge it.
const toldCookie = "hm-told"

const maxTold = 600 // bytes of a text

func tell(w http.ResponseWriter, r *http.Request, t told) {
	t.Text, t.Hint = clip(t.Text, maxTold), clip(t.Hint, maxTold)
	raw, err := json.Marshal(t)
	if err != nil { // it has only texts
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: toldCookie, Value: base64.RawURLEncoding.EncodeToString(raw), Path: "/", MaxAge: 60,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// takeTold gives the outcome to tell, if there is one, and lets the browser forget it.
func takeTold(w http.ResponseWriter, r *http.Request) *told {
	c, err := r.Cookie(toldCookie)
	if err != nil {
		return nil
	}
	http.SetCookie(w, &http.Cookie{Name: toldCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	raw, err := base64.RawURLEncoding.DecodeString(c.Value)
	var t told
	if err != nil || json.Unmarshal(raw, &t) != nil || t.Text == "" {
		return nil
	}
	return &t
}

// clip shortens a text to n bytes, at a boundary of characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "..."
}

// themeCookie has the theme that a person chose: light or dark.
const themeCookie = "hm-theme"

func themeOf(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// chooseTheme answers POST /do/theme.
func (d *Dashboard) chooseTheme(w http.ResponseWriter, r *http.Request) (told, error) {
	c := &http.Cookie{Name: themeCookie, Path: "/", SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: 400 * 24 * 3600}
	switch v := r.PostFormValue("theme"); v {
	case "light", "dark":
		c.Value = v
	default:
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
	return told{}, nil
}
