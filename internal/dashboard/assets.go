package dashboard

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// assets are the files that pages load, by the name under which they are served: it has a hash of the content, so that
// browsers may keep a file for ever.
type assets struct {
	byName map[string][]byte
	names  map[string]string // by the name in the repository
}

func loadAssets() assets {
	a := assets{byName: map[string][]byte{}, names: map[string]string{}}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, e := range entries {
		content, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.byName[name], a.names[e.Name()] = content, name
	}
	return a
}

// path gives the path under which an asset is served. It panics for a name that does not exist: the first test of a
// template finds that.
func (a assets) path(name string) string {
	served, ok := a.names[name]
	if !ok {
		panic("there is no asset " + name)
	}
	return "/assets/" + served
}

// ServeHTTP serves one asset.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := a.byName[r.PathValue("name")]
	if !ok {
		http.Error(w, "there is no such file: load the page again, it may be that of an older version", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mimeType(r.PathValue("name")))
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	_, _ = w.Write(content) // an error means that the browser is gone
}

// mimeType depends on no file of the machine.
func mimeType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}
