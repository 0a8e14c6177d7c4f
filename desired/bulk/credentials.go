package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	maxCredentials = 16 << 10 // bytes of the reply with credentials
	maxCredential  = 1 << 10  // bytes of the user or the password
)

// ParseCredentials reads a Cloud Controller's reply to cloudcontroller.bulk.credentials.<partition>, which is
// {"user": ..., "password": ...} (N45). The error never quotes the reply.
func ParseCredentials(reply []byte) (user, password string, err error) {
	if len(reply) > maxCredentials {
		return "", "", fmt.Errorf("bulk credentials: the reply has %d bytes, at most %d are allowed",
			len(reply), maxCredentials)
	}
	var c struct{ User, Password *string }
	if json.Unmarshal(reply, &c) != nil {
		return "", "", errors.New(`bulk credentials: the reply is not {"user": text, "password": text}`)
	}
	if c.User == nil || c.Password == nil {
		return "", "", errors.New("bulk credentials: the reply lacks user or password")
	}
	if err := checkCredentials(*c.User, *c.Password); err != nil {
		return "", "", err
	}
	return *c.User, *c.Password, nil
}

// checkCredentials returns an error if HTTP basic authentication cannot send user and password.
func checkCredentials(user, password string) error {
	switch {
	case user == "" || password == "":
		return errors.New("bulk credentials: user or password is empty")
	case len(user) > maxCredential || len(password) > maxCredential:
		return fmt.Errorf("bulk credentials: user or password is longer than %d bytes", maxCredential)
	case strings.ContainsFunc(user+password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("bulk credentials: user or password has a control character")
	case strings.Contains(user, ":"):
		return errors.New("bulk credentials: the user name has a ':', which HTTP basic authentication does not allow")
	}
	return nil
}
