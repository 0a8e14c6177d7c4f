package api

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// maxDetail is how many instances, or indices, of one app version are listed in detail.
const maxDetail = 20_000

// maxCandidates is how many ids an ambiguous prefix lists.
const maxCandidates = 10

// keyList keeps the sorted keys of all apps, for pages and for prefixes of guids.
type keyList struct {
	mu    sync.Mutex
	keys  []app.Key
	index uint64
	built time.Time
	took  time.Duration
	used  time.Time
}

// forget drops the keys if they were not used for a while.
func (l *keyList) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.used) > listKeep {
		l.keys = nil
	}
}

// of gives the keys of view, or of a view that is a little older. The caller must not change them.
func (l *keyList) of(view *raftfsm.State) []app.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = time.Now()
	if l.keys != nil && (l.index == view.Index() || time.Since(l.built) < min(keysCost*l.took, passMaxKeep)) {
		return l.keys
	}
	began := time.Now()
	keys := []app.Key{}
	for a := range view.Apps() {
		keys = append(keys, a.Key)
	}
	slices.SortFunc(keys, app.Key.Compare)
	l.keys, l.index, l.built, l.took = keys, view.Index(), began, time.Since(began)
	return keys
}

// findApp gives every recorded version of the app that text names by its guid or by the beginning of it.
func (s *Server) findApp(n snapshot, text string) ([]app.Key, error) {
	guid, err := app.ParseGUID(text)
	if err != nil {
		return nil, badRequest("%.80q names no app: %v", text, err)
	}
	if keys := n.view.Versions(guid); len(keys) > 0 {
		return keys, nil
	}
	keys := s.keys.of(n.view)
	candidates := beginWith(nil, keys, text, func(app.GUID) bool { return true })
	if small := strings.ToLower(text); small != text { // the case of letters does not count in a UUID
		candidates = beginWith(candidates, keys, small, func(d app.GUID) bool { _, form := d.Binary(); return form != 0 })
	}
	if len(candidates) == 1 {
		if keys := n.view.Versions(candidates[0]); len(keys) > 0 {
			return keys, nil
		}
		candidates = nil
	}
	if len(candidates) == 0 {
		return nil, problem(http.StatusNotFound, "not-found", "no app "+strconv.Quote(cut(text))+" is recorded: nothing desires it, nothing runs, and it is not the beginning of a guid", "")
	}
	words := make([]string, len(candidates))
	for i, c := range candidates {
		words[i] = c.String()
	}
	return nil, ambiguous("app", text, words)
}

// beginWith appends to candidates the droplets of the sorted keys that begin with text and for which may is true. It
// stops when there are more than maxCandidates.
func beginWith(candidates []app.GUID, keys []app.Key, text string, may func(app.GUID) bool) []app.GUID {
	for i := sort.Search(len(keys), func(i int) bool { return keys[i].Droplet.String() >= text }); i < len(keys) && len(candidates) <= maxCandidates; i++ {
		d := keys[i].Droplet
		if !strings.HasPrefix(d.String(), text) {
			break
		}
		if may(d) && (len(candidates) == 0 || candidates[len(candidates)-1] != d) {
			candidates = append(candidates, d)
		}
	}
	return candidates
}

func ambiguous(what, text string, candidates []string) *Problem {
	p := problem(http.StatusConflict, "ambiguous", "more than one "+what+" begins with "+strconv.Quote(cut(text)), "give more of the id")
	p.Candidates = candidates
	if len(candidates) > maxCandidates {
		p.Candidates = append(slices.Clone(candidates[:maxCandidates]), "...")
	}
	return p
}

// app answers GET /v1/apps/{guid}?index=.
func (s *Server) app(w http.ResponseWriter, r *http.Request) error {
	only, err := parseIndex(r)
	if err != nil {
		return err
	}
	n := s.snapshot()
	keys, err := s.findApp(n, r.PathValue("guid"))
	if err != nil {
		return err
	}
	answer := App{App: keys[0].Droplet.String(), Basis: n.basis(n.view)}
	for _, k := range keys {
		answer.Versions = append(answer.Versions, s.appVersion(n, k, only))
	}
	return writeTagged(w, answer.Basis, answer, answer.unheard())
}

// unheard gives an app without its basis and without times that pass by themselves, for a tag.
func (a App) unheard() App {
	a.Basis, a.Versions = Basis{}, slices.Clone(a.Versions)
	for i := range a.Versions {
		v := &a.Versions[i]
		v.Instances, v.Crashes = instancesUnheard(v.Instances), slices.Clone(v.Crashes)
		for j := range v.Crashes {
			v.Crashes[j].RunningMS = 0
		}
	}
	return a
}

func instancesUnheard(list []Instance) []Instance {
	list = slices.Clone(list)
	for i := range list {
		list[i].LastHeard = Timestamp{}
	}
	return list
}

func (s *Server) appVersion(n snapshot, k app.Key, only indexFilter) AppVersion {
	e := reconcile.NewEvaluator(s.opts.Policy).App(n.view, k, n.knowledge(), n.hm)
	in := &e.Input
	v := AppVersion{
		Version: k.Version.String(), Desired: desiredOf(in.Desired), Counts: countInstances(in.Instances),
		Instances: []Instance{}, Crashes: []CrashRecord{}, Commands: []Command{}, Drift: []DriftItem{},
	}
	for i := range in.Instances {
		if !only.has(in.Instances[i].Index) {
			continue
		}
		if len(v.Instances) == maxDetail {
			v.Truncated = true
			break
		}
		v.Instances = append(v.Instances, s.instance(n, &in.Instances[i]))
	}
	for _, c := range in.Crashes {
		if only.has(c.Index) {
			v.Crashes = append(v.Crashes, s.crashRecord(n, c))
		}
	}
	waits := s.commandWaits(n)
	waits.evaluated(k, e)
	for _, c := range n.view.Commands(k) {
		if only.has(c.Index) {
			v.Commands = append(v.Commands, waits.command(c))
		}
	}
	for f := range e.Drift() {
		if !only.has(f.Index) {
			continue
		}
		if len(v.Drift) == maxDetail {
			v.Truncated = true
			break
		}
		v.Drift = append(v.Drift, driftItem(n, f, in, n.hm))
	}
	return v
}

// indexFilter selects one index, or all.
type indexFilter struct {
	set   bool
	index uint32
}

func (f indexFilter) has(index uint32) bool { return !f.set || f.index == index }

func parseIndex(r *http.Request) (indexFilter, error) {
	text := r.URL.Query().Get("index")
	if text == "" {
		return indexFilter{}, nil
	}
	i, err := strconv.ParseUint(text, 10, 32)
	if err != nil || i > actual.MaxIndex {
		return indexFilter{}, badRequest("index %.20q must be a number from 0 to %d", text, actual.MaxIndex)
	}
	return indexFilter{set: true, index: uint32(i)}, nil
}
