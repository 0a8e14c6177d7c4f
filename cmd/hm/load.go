package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"hm/internal/config"
)

// configFlags are --config and --set, for the commands that need the daemon's configuration.
type configFlags struct {
	file string
	sets []string
}

func (f *configFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (.yaml, .yml, .json or .toml)")
	cmd.Flags().StringArrayVar(&f.sets, "set", nil,
		"set one key: nats.servers=nats://10.0.0.1:4222 (repeatable; wins over environment and file)")
}

// loaded is a configuration with the origin of each value.
type loaded struct {
	config.Config
	origins map[string]string // by key: "--set", "environment HM_...", "file ..."; a default has none
}

// load reads the configuration. --set wins over the environment, the environment over the file, the file over the
// defaults. The error lists every mistake.
func (f *configFlags) load() (loaded, error) {
	l, problems, err := f.gather()
	if err != nil {
		return loaded{}, err
	}
	var invalid config.Problems
	if errors.As(l.Validate(), &invalid) {
		for _, p := range invalid {
			// A value that cannot be read is reported already.
			if !slices.ContainsFunc(problems, func(q config.Problem) bool { return q.Key == p.Key }) {
				problems = append(problems, p)
			}
		}
	}
	if len(problems) == 0 {
		return l, nil
	}
	problems.Sort()
	for i, p := range problems {
		if origin := l.origins[p.Key]; origin != "" {
			problems[i].Want += " (from " + origin + ")"
		}
	}
	return loaded{}, withHint(problems,
		"hm config print without --config shows every key with its default; docs/configuration.md explains them")
}

// gather reads all sources. Viper merges them. The table of keys checks names and types, since viper accepts unknown
// keys and turns a value of the wrong type into zero.
func (f *configFlags) gather() (loaded, config.Problems, error) {
	l := loaded{Config: config.Default(), origins: map[string]string{}}
	v := viper.New()
	problems, err := f.mergeFile(v)
	if err != nil {
		return l, nil, err
	}
	env := environment()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if p, unknown := config.UnknownEnv(name); unknown {
			problems = append(problems, p)
		}
	}
	set := map[string]bool{}
	for _, s := range f.sets {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return l, nil, withHint(fmt.Errorf("--set %.60q is not key=value", s), "write --set log.level=debug")
		}
		if _, known := config.KeyNamed(name); !known {
			// Viper must not see it: a value for a section would hide the file's values in that section.
			p := config.Unknown(name)
			p.Want += " (from --set)"
			problems = append(problems, p)
			continue
		}
		v.Set(name, value)
		set[name] = true
	}
	for _, key := range config.Keys() {
		// Viper finds the variables of nested keys only if each is bound by name.
		if err := v.BindEnv(key.Name, key.Env()); err != nil {
			return l, nil, fmt.Errorf("bind %s: %w", key.Env(), err)
		}
		var p *config.Problem
		switch {
		case set[key.Name]:
			l.origins[key.Name] = "--set"
			p = key.SetText(&l.Config, v.GetString(key.Name))
		case env[key.Env()] != "":
			l.origins[key.Name] = "environment " + key.Env()
			p = key.SetText(&l.Config, v.GetString(key.Name))
		case v.InConfig(key.Name):
			l.origins[key.Name] = "file " + f.file
			p = key.Set(&l.Config, v.Get(key.Name))
		}
		if p != nil {
			problems = append(problems, *p)
		}
	}
	return l, problems, nil
}

// exposedSecrets warns of a configuration file that has secrets and that every user of the machine can read.
func (f *configFlags) exposedSecrets(l loaded) []string {
	info, err := os.Stat(f.file)
	if f.file == "" || err != nil || info.Mode()&0o004 == 0 {
		return nil
	}
	var secrets []string
	for _, key := range config.Keys() {
		if key.Secret && l.origins[key.Name] == "file "+f.file && !key.IsDefault(&l.Config) {
			secrets = append(secrets, key.Name)
		}
	}
	if len(secrets) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("every user of this machine can read %s, which has secrets (%s): chmod 640, or set them in the environment",
		f.file, strings.Join(secrets, ", "))}
}

// environment returns the variables that begin with HM_ and are not empty. Viper ignores empty ones, too.
func environment() map[string]string {
	env := map[string]string{}
	for _, e := range os.Environ() {
		if name, value, ok := strings.Cut(e, "="); ok && value != "" && strings.HasPrefix(name, "HM_") {
			env[name] = value
		}
	}
	return env
}

// mergeFile adds the file's values to v. The problems are unknown keys, and keys without a value or with two.
func (f *configFlags) mergeFile(v *viper.Viper) (config.Problems, error) {
	if f.file == "" {
		return nil, nil
	}
	values, err := decodeFile(f.file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	flat := map[string]any{}
	problems := flatten(flat, "", values)
	for i := range problems {
		problems[i].Want += " (from file " + f.file + ")"
	}
	nested := map[string]any{}
	for name, value := range flat {
		insert(nested, name, value)
	}
	if err := v.MergeConfigMap(nested); err != nil {
		return nil, fmt.Errorf("read the configuration: %s: %w", f.file, err)
	}
	return problems, nil
}

// flatten adds the values of known keys to flat, and returns a problem for everything else. A key may be nested or
// written with dots.
func flatten(flat map[string]any, prefix string, values map[string]any) config.Problems {
	var problems config.Problems
	for _, part := range slices.Sorted(maps.Keys(values)) {
		name, value := prefix+part, values[part]
		_, known := config.KeyNamed(name)
		section := config.IsSection(name)
		below, isMap := value.(map[string]any)
		_, twice := flat[name]
		switch {
		case twice:
			problems = append(problems, config.Problem{Key: name, Want: "it is given twice: nested and with dots"})
		case known && value == nil:
			problems = append(problems, config.Problem{Key: name, Want: "it has no value: give it one, or leave the key out"})
		case known:
			flat[name] = value
		case section && value == nil: // everything in it is commented out
		case section && isMap:
			problems = append(problems, flatten(flat, name+".", below)...)
		default:
			problems = append(problems, config.Unknown(name))
		}
	}
	return problems
}

// insert puts a value into the nested maps that the dots in name lead to.
func insert(nested map[string]any, name string, value any) {
	for {
		first, rest, more := strings.Cut(name, ".")
		if !more {
			nested[first] = value
			return
		}
		below, ok := nested[first].(map[string]any)
		if !ok {
			below = map[string]any{}
			nested[first] = below
		}
		nested, name = below, rest
	}
}
