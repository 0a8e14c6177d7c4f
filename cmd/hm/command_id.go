package main

import (
	"context"
	"fmt"
	"strings"

	"hm/commands"
	"hm/internal/api"
)

// maxCandidates is how many ids an error lists.
const maxCandidates = 10

// wholeCommandID returns the id of the outstanding command that text names, or begins. A whole id is returned as it is.
func wholeCommandID(ctx context.Context, client *api.Client, text string) (string, error) {
	if _, err := commands.ParseID(text); err == nil {
		return text, nil
	}
	var found []string
	for x, err := range client.CommandPages("", api.ListOptions{Prefix: text, Limit: maxCandidates + 1}).All(ctx) {
		if err != nil {
			return "", err
		}
		found = append(found, x.ID)
	}
	switch {
	case len(found) == 0 || text == "":
		return "", withHint(fmt.Errorf("%q is not a command id, nor the beginning of one that is outstanding", text), "hm commands list shows the ids")
	case len(found) > maxCandidates:
		found[maxCandidates] = "..."
	case len(found) == 1:
		return found[0], nil
	}
	return "", withHint(fmt.Errorf("more than one command begins with %q:\n  %s", text, strings.Join(found, "\n  ")), "give more of the id")
}
