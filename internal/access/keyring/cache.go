package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"hm/internal/access"
)

// kept is what the cache has. The keys of another URL do not count.
type kept struct {
	URL  string          `json:"url"`
	Keys json.RawMessage `json:"keys"`
}

// recall takes the keys that were kept. Without any, the first read decides.
func (r *Ring) recall() {
	if r.opts.Cache == "" {
		return
	}
	keys, raw, err := load(r.opts.Cache, r.opts.URL)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.opts.Logger.Warn("the kept keys of the issuer of tokens cannot be used", "file", r.opts.Cache, "error", err)
		}
		return
	}
	r.keys.Store(keys)
	r.raw = raw
	r.opts.Logger.Info("the kept keys of the issuer of tokens count until it answers", "keys", keys.IDs())
}

func load(file, url string) (*access.Keys, []byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 2*access.MaxKeysBytes))
	if err != nil {
		return nil, nil, err
	}
	return parseKept(text, url)
}

// parseKept reads a cache.
func parseKept(text []byte, url string) (*access.Keys, []byte, error) {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, nil, err
	}
	if k.URL != url {
		return nil, nil, fmt.Errorf("they are those of another issuer, %.200q", k.URL)
	}
	keys, err := access.ParseKeys(k.Keys)
	return keys, k.Keys, err
}

// remember keeps keys for a restart. A crash leaves the old file or the new one.
func (r *Ring) remember(raw []byte) error {
	if r.opts.Cache == "" {
		return nil
	}
	text, err := json.Marshal(kept{r.opts.URL, raw})
	if err != nil {
		return fmt.Errorf("only a JWKS can be kept: %w", err)
	}
	f, err := os.OpenFile(r.opts.Cache+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.opts.Cache)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
