package server

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"hm/internal/access/keyring"
	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/tlsfiles"
)

// jwtOptions gives what a token must say. The keys come with openKeys.
func jwtOptions(j config.JWT) (o api.JWT) {
	if j.On() {
		o.Issuer, o.Audience = j.Issuer, j.Audience
	}
	return o
}

// keyOptions says where the keys of the issuer of tokens are. w reads the authority again when it changes.
func keyOptions(cfg config.Config, w *tlsfiles.Watcher, logger *slog.Logger) (keyring.Options, error) {
	j := cfg.API.JWT
	o := keyring.Options{File: j.Keys, URL: j.JWKSURL, Cache: filepath.Join(cfg.Node.DataDir, "jwt-keys.json"), Logger: logger}
	if j.JWKSURL == "" {
		return o, nil
	}
	var err error
	o.TLS, err = w.Client("api.jwt.ca", tlsfiles.File{Key: "api.jwt.ca", Path: j.CA}, tlsfiles.File{}, tlsfiles.File{})
	return o, err
}

// openKeys begins to read the keys of the issuer of tokens, if there is one.
func (n *Node) openKeys(cfg config.Config, o *api.Options, logger *slog.Logger) error {
	if !cfg.API.JWT.On() {
		return nil
	}
	options, err := keyOptions(cfg, n.certificates, logger)
	if err != nil {
		return err
	}
	if n.keys, err = keyring.Open(options); err != nil {
		return fmt.Errorf("reading the keys of the issuer of tokens: %w", err)
	}
	o.JWT.Keys = n.keys
	return nil
}
