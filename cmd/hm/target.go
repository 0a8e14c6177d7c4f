package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hm/actual"
	"hm/internal/api"
)

// allIndices is what --index says for an app as a whole.
const allIndices = "all"

// indexUsage is the help of --index.
const indexUsage = "only this index, or all. APP is then taken as it is, even if a number follows a slash in it"

// target is the app, and the index of it, that the arguments of a command name.
type target struct {
	guid  string
	index string // empty: all
	hint  string // what may be the matter if there is no such app
}

// targetOf reads APP/INDEX, or, with a word for --index, an app whose guid may have a slash itself.
func targetOf(arg, index string) (target, error) {
	switch index {
	case "":
		at := strings.LastIndexByte(arg, '/')
		if at < 0 {
			return target{guid: arg}, nil
		}
		guid, number := arg[:at], arg[at+1:]
		if err := checkIndex(number); err != nil {
			return target{guid: arg, hint: fmt.Sprintf("%q is taken as a guid: %.20q is no index, but %v", cut(arg), number, err)}, nil
		}
		return target{guid: guid, index: number, hint: fmt.Sprintf("if /%s is part of the guid, say --index %s, or the index that you mean", number, allIndices)}, nil
	case allIndices:
		return target{guid: arg}, nil
	}
	if err := checkIndex(index); err != nil {
		return target{}, withHint(fmt.Errorf("--index %.20q: %w", index, err), "give a number, or all")
	}
	return target{guid: arg, index: index}, nil
}

func checkIndex(text string) error {
	if n, err := strconv.ParseUint(text, 10, 32); err != nil || n > actual.MaxIndex {
		return fmt.Errorf("not a number from 0 to %d", actual.MaxIndex)
	}
	return nil
}

// cut shortens what is quoted back.
func cut(text string) string { return text[:min(len(text), 80)] }

// notFound adds to the error of an app that is not recorded what may be the matter.
func (t target) notFound(err error) error {
	var p *api.Problem
	if t.hint == "" || !errors.As(err, &p) || p.Status != http.StatusNotFound {
		return err
	}
	return withHint(err, t.hint)
}

// targetFlag adds --index to a command that takes one APP, and gives what its arguments name. Behind --, which an app
// needs whose guid begins with a hyphen, --index is no flag any more: it is taken all the same, since a second argument
// can mean nothing else.
func targetFlag(cmd *cobra.Command) func(args []string) (target, error) {
	index := cmd.Flags().String("index", "", indexUsage)
	split := func(args []string) (app []string, word string) {
		switch n := len(args); {
		case cmd.ArgsLenAtDash() != 0:
		case n == 3 && args[1] == "--index":
			return args[:1], args[2]
		case n == 2 && strings.HasPrefix(args[1], "--index="):
			return args[:1], strings.TrimPrefix(args[1], "--index=")
		}
		return args, *index
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		app, _ := split(args)
		return cobra.ExactArgs(1)(cmd, app)
	}
	return func(args []string) (target, error) {
		app, word := split(args)
		return targetOf(app[0], word)
	}
}
