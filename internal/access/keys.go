package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bytes"

	"github.com/go-jose/go-jose/v4"
)

// Keys are the public keys of the issuer of JWTs. They do not change; nil has none.
type Keys struct{ all []publicKey }

type publicKey struct {
	id     string // empty: it has none
	only   string // the algorithm that it is for; empty: any that fits it
	public any    // *rsa.PublicKey or *ecdsa.PublicKey
}

// Limits on keys.
const (
	// MaxKeysBytes is the largest list of keys that is read.
	MaxKeysBytes = 256 << 10

	maxKeys    = 64
	maxKeyID   = 200 // bytes
	minRSABits = 2048
	maxRSABits = 8192
)

// ParseKeys reads public keys: PEM blocks, or a JWKS as UAA gives it at /token_keys, or one JWK. It leaves out keys that
// are not for signatures or that hm does not use, and fails if none is left.
func ParseKeys(raw []byte) (*Keys, error) {
	if len(raw) > MaxKeysBytes {
		return nil, fmt.Errorf("the keys have more than %d bytes", MaxKeysBytes)
	}
	var k Keys
	var err error
	if text := bytes.TrimSpace(raw); len(text) > 0 && text[0] == '{' {
		err = k.readJWKS(text)
	} else {
		err = k.readPEM(raw)
	}
	if err != nil {
		return nil, err
	}
	if len(k.all) == 0 {
		return nil, errors.New("there is no public key for signatures that hm uses: RSA of at least 2048 bits, or an elliptic curve P-256, P-384 or P-521")
	}
	return &k, nil
}

// IDs gives the ids of the keys, sorted, each once.
func (k *Keys) IDs() (ids []string) {
	if k == nil {
		return nil
	}
	for _, one := range k.all {
		ids = append(ids, one.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// of gives the keys with an id, or else those without one.
func (k *Keys) of(id string) (fit []publicKey) {
	if k == nil {
		return nil
	}
	for _, one := range k.all {
		if one.id == id && id != "" {
			fit = append(fit, one)
		}
	}
	if len(fit) > 0 {
		return fit
	}
	for _, one := range k.all {
		if one.id == "" || id == "" { // a token without an id may be signed with any of them
			fit = append(fit, one)
		}
	}
	return fit
}

// fits reports whether a key can have made a signature by an algorithm.
func (k publicKey) fits(by jose.SignatureAlgorithm) bool {
	if k.only != "" && k.only != string(by) {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(by), "RS") || strings.HasPrefix(string(by), "PS")
	case *ecdsa.PublicKey:
		return curves[by] == public.Curve
	}
	return false
}

var curves = map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}

// errPrivate says that a list of public keys has a private one. Its owner should hear of that.
var errPrivate = errors.New("there is a private key among them: hm needs only public keys, and a private one that hm can read is no secret of the issuer")

// add takes a key in, if hm uses it.
func (k *Keys) add(id, only string, public any) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits || key.E < 3 || key.E&1 == 0 {
			return nil
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return nil
		}
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
		return errPrivate
	default:
		return nil
	}
	if len(k.all) == maxKeys {
		return fmt.Errorf("there are more than %d keys", maxKeys)
	}
	if len(id) > maxKeyID {
		return fmt.Errorf("the id of a key has more than %d bytes", maxKeyID)
	}
	k.all = append(k.all, publicKey{id, only, public})
	return nil
}

func (k *Keys) readJWKS(raw []byte) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Kty  string            `json:"kty"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return fmt.Errorf("they cannot be read as a JWKS: %w", err)
	}
	if set.Kty != "" && set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	for _, one := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil {
			continue // of a kind that go-jose does not know: not for hm
		}
		if key.Use != "" && key.Use != "sig" {
			continue
		}
		if err := k.add(key.KeyID, key.Algorithm, key.Key); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keys) readPEM(raw []byte) error {
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return nil
		}
		var public any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = c.PublicKey
			}
		default:
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				return errPrivate
			}
			return fmt.Errorf("a PEM block %.40q is neither a public key nor a certificate", block.Type)
		}
		if err != nil {
			return fmt.Errorf("a PEM block %.40q cannot be read: %w", block.Type, err)
		}
		if err := k.add("", "", public); err != nil {
			return err
		}
	}
}
