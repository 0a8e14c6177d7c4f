package conformance

import (
	"io"
	"net/http"
	"strings"
)

// Post is a request to the Cloud Controller's endpoints for commands (N23, N24), and its answer.
type Post struct {
	Path, ContentType, Authorization, Body string
	Status                                 int
}

// Posts gives the posts about an app.
func (c *Controller) Posts(droplet string) (about []Post) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.posts {
		if strings.HasSuffix(p.Path, "/"+droplet) {
			about = append(about, p)
		}
	}
	return about
}

// post takes a command over HTTP (N25). The app is looked up before the body, for a stop as well (W01).
func (c *Controller) post(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // half a body is a command that cannot be read
	user, password, _ := r.BasicAuth()
	action, guid, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/internal/dea/hm9000/"), "/")
	c.mu.Lock()
	known := c.find(guid) >= 0
	c.mu.Unlock()
	status, answer := http.StatusOK, "{}"
	switch {
	case user != c.User || password != c.Password:
		status, answer = http.StatusUnauthorized, `{"code":10002,"description":"Authentication error","error_code":"CF-NotAuthenticated"}`
	case r.Method != http.MethodPost || action != "start" && action != "stop":
		status, answer = http.StatusNotFound, `{"code":10000,"description":"Unknown request","error_code":"CF-NotFound"}`
	case !known:
		status, answer = http.StatusNotFound, `{"code":100004,"description":"The app could not be found","error_code":"CF-AppNotFound"}`
	}
	c.mu.Lock()
	c.posts = append(c.posts, Post{r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(body), status})
	c.mu.Unlock()
	if status == http.StatusOK {
		c.respond("hm9000."+action, body)
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(answer)) // an error means that hm is gone
}
