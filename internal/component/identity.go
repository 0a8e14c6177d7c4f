package component

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// identity is what a component says of itself: on vcap.component.announce, in answer to vcap.component.discover, and in
// /varz (N47).
type identity struct {
	Type        string    `json:"type"`
	Index       int       `json:"index"`
	UUID        string    `json:"uuid"`        // the index, a hyphen, and 32 hexadecimal digits; new at each start
	Host        string    `json:"host"`        // host:port of /varz and /healthz
	Credentials [2]string `json:"credentials"` // user name and password for them
	Start       string    `json:"start"`
	Uptime      string    `json:"uptime"`
}

// after gives the identity of a component that has run for a time.
func (i identity) after(up time.Duration) identity {
	i.Uptime = uptime(up)
	return i
}

// message encodes the identity as a message.
func (i identity) message() []byte {
	text, err := json.Marshal(i)
	if err != nil {
		panic(err) // texts and numbers can always be encoded
	}
	return text
}

// rubyTime writes a time as Ruby's Time#to_s does.
func rubyTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 -0700") }

// uptime writes a duration in days, hours, minutes and seconds.
func uptime(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	return fmt.Sprintf("%dd:%dh:%dm:%ds", s/86400, s/3600%24, s/60%60, s%60)
}

// randomHex gives 32 hexadecimal digits that nobody can guess.
func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
