package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
)

// firstToken asks for the first page (D01).
const firstToken = "{}"

// paging follows the tokens of one read. A server whose tokens do not advance would be read for ever.
type paging struct {
	token string // of the next request
	mark  string // an earlier token: none may come back to it (Brent's way to find a loop)
	steps int
	until int // steps at which mark moves on
}

func newPaging() *paging { return &paging{token: firstToken, mark: firstToken, until: 1} }

var errNoToken = errors.New("a page with rows came without a bulk_token: what follows it cannot be asked for")

// advance takes the token that came with a page that had rows.
func (p *paging) advance(token []byte) error {
	if token == nil {
		return errNoToken
	}
	next := string(token)
	before, hadID := tokenID(p.token)
	after, hasID := tokenID(next)
	if next == p.token || next == p.mark || hadID && hasID && after <= before {
		return fmt.Errorf("a page with rows came with bulk_token %.60s, which does not advance after %.60s: the pages would never end", next, p.token)
	}
	p.token = next
	if p.steps++; p.steps == p.until {
		p.mark, p.until = next, 2*p.until
	}
	return nil
}

// tokenID gives n of a token {"id":n}, the only form that Cloud Controllers are known to write (D04).
func tokenID(token string) (int64, bool) {
	var t struct {
		ID *int64 `json:"id"`
	}
	if json.Unmarshal([]byte(token), &t) != nil || t.ID == nil {
		return 0, false
	}
	return *t.ID, true
}
