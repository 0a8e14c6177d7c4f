package config

import "strings"

// Unknown gives the problem that name is not a key, with the key that was probably meant, if there is one.
func Unknown(name string) Problem {
	p := Problem{Key: name, Want: "there is no such key"}
	if IsSection(name) {
		p.Want = "this is a section: its keys are " + strings.Join(keysIn(name), ", ")
		return p
	}
	lower := strings.ToLower(name)
	if _, known := KeyNamed(lower); lower != name && (known || IsSection(lower)) {
		p.Want += ": keys are in lower case"
		return p
	}
	if near, ok := Nearest(name, keyNames()); ok {
		p.Want += "; did you mean " + near + "?"
	}
	return p
}

// UnknownEnv checks an environment variable. It returns a problem if name looks like the variable of a key and is not
// one. Other variables that begin with HM_ belong to other programs.
func UnknownEnv(name string) (Problem, bool) {
	if !strings.HasPrefix(name, "HM_") || orchestratorEnv(name) {
		return Problem{}, false
	}
	envs, looks := make([]string, 0, len(keys)), false
	for _, k := range keys {
		env := k.Env()
		if env == name {
			return Problem{}, false
		}
		envs = append(envs, env)
		section, _, _ := strings.Cut(strings.TrimPrefix(env, "HM_"), "_")
		looks = looks || strings.HasPrefix(name, "HM_"+section+"_")
	}
	near, ok := Nearest(name, envs)
	if !ok && !looks {
		return Problem{}, false
	}
	p := Problem{Key: name, Want: "no key has this environment variable"}
	if ok {
		p.Want += "; did you mean " + near + "?"
	}
	return p, true
}

// orchestratorEnv reports whether name has the form in which Kubernetes gives the address of a service. Without this, a
// service called hm-api would keep hm from starting.
func orchestratorEnv(name string) bool {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_SERVICE_PORT_") {
		return true
	}
	_, rest, ok := strings.Cut(name, "_PORT_")
	number, _, _ := strings.Cut(rest, "_")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// IsSection reports whether name is the first part of a key: "nats", "nats.tls".
func IsSection(name string) bool { return len(keysIn(name)) > 0 }

func keysIn(section string) []string {
	var in []string
	for _, k := range keys {
		if strings.HasPrefix(k.Name, section+".") {
			in = append(in, k.Name)
		}
	}
	return in
}

func keyNames() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	return names
}

// Nearest finds the candidate that was probably meant: one that differs in a few characters, or the only one with the
// same last part, for a key that was written without its section.
func Nearest(name string, candidates []string) (string, bool) {
	name = strings.ToLower(name)
	best, least := "", 1+len(name)/5
	if len(name) > 64 {
		return "", false
	}
	for _, c := range candidates {
		if d := distance(name, strings.ToLower(c)); d <= least && (best == "" || d < least) {
			best, least = c, d
		}
	}
	if best != "" {
		return best, true
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, c := range candidates {
		if c != name && strings.HasSuffix(c, "."+last) {
			if best != "" {
				return "", false
			}
			best = c
		}
	}
	return best, best != ""
}

// distance counts the characters to insert, delete, replace or swap with a neighbour to change a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
