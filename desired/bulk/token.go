package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
)

// firstToken requests the first page (D01).
const firstToken = "{}"

// paging checks the tokens of one read: if they do not advance, the read would never end.
type paging struct {
	token string // of the next request
	mark  string // an earlier token that must not come again: Brent's algorithm to find a loop
	steps int
	until int // number of steps after which mark becomes the newest token
}

func newPaging() *paging { return &paging{token: firstToken, mark: firstToken, until: 1} }

var errNoToken = errors.New("a page with rows has no bulk_token, so hm cannot request the next page")

// advance takes the token of a page with rows.
func (p *paging) advance(token []byte) error {
	if token == nil {
		return errNoToken
	}
	next := string(token)
	before, hadID := tokenID(p.token)
	after, hasID := tokenID(next)
	if next == p.token || next == p.mark || hadID && hasID && after <= before {
		return fmt.Errorf("a page with rows has the bulk_token %.60s, which does not advance after %.60s: the pages would never end",
			next, p.token)
	}
	p.token = next
	if p.steps++; p.steps == p.until {
		p.mark, p.until = next, 2*p.until
	}
	return nil
}

// tokenID returns n of a token {"id":n}, the only known form of Cloud Controllers (D04).
func tokenID(token string) (int64, bool) {
	var t struct {
		ID *int64 `json:"id"`
	}
	if json.Unmarshal([]byte(token), &t) != nil || t.ID == nil {
		return 0, false
	}
	return *t.ID, true
}
