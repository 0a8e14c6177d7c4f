package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxCountsBytes bounds the answer with the counts.
const maxCountsBytes = 64 << 10

// Users asks the Cloud Controller how many users it has (N44). It neither waits for a read of the apps nor holds one
// up, and it is not in the Stats.
func (s *Source) Users(ctx context.Context) (int, error) {
	n, err := s.users(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask %s for the number of users: %w", s.options.URL, err)
	}
	return n, nil
}

func (s *Source) users(ctx context.Context) (int, error) {
	user, password, _, failure := s.credentials(ctx)
	if failure != nil {
		return 0, failure.Err
	}
	u := *s.base.JoinPath("..", "counts")
	u.RawQuery = "model=user"
	timed, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	var phase phases
	resp, failure := s.get(ctx, timed, &u, user, password, &phase)
	if failure != nil {
		if failure.Kind == Unauthorized && s.options.Username == "" {
			s.dropCredentials(user, password) // the next question asks for new ones
		}
		return 0, failure.Err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(&limitedBody{r: resp.Body, left: maxCountsBytes, limit: maxCountsBytes})
	if err != nil {
		return 0, classify(ctx, timed, err, phase.String()).Err
	}
	return parseUsers(answer)
}

// parseUsers reads {"counts":{"user":N}}.
func parseUsers(answer []byte) (int, error) {
	var c struct {
		Counts struct {
			User *int64 `json:"user"`
		} `json:"counts"`
	}
	if err := json.Unmarshal(answer, &c); err != nil {
		return 0, errors.New(`the answer is not {"counts":{"user":number}}: ` + quote(answer[:min(len(answer), maxQuoted+1)]))
	}
	switch n := c.Counts.User; {
	case n == nil:
		return 0, errors.New("the answer has no counts.user: " + quote(answer[:min(len(answer), maxQuoted+1)]))
	case *n < 0 || *n > math.MaxInt32:
		return 0, fmt.Errorf("counts.user is %d, which is no number of users", *n)
	default:
		return int(*n), nil
	}
}
