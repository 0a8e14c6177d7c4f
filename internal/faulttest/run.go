package faulttest

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Result is what a run found.
type Result struct {
	Seed       uint64
	Schedule   []Fault
	Violations []Violation
	Record     *Record
	Recording  string // file for hm replay
	Done       []string
}

// Run runs the schedule of a seed, heals everything, waits until what runs agrees with what is wanted, and judges. An
// error means that the bench itself failed, and that there is no result.
func Run(ctx context.Context, s Settings, seed uint64) (result *Result, err error) {
	w, err := startWorld(s, seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	defer w.close()
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	r := &Result{Seed: seed, Schedule: Plan(seed, s.Periods), Recording: w.recording()}
	if err := w.play(r); err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	w.settle()
	arrived, err := w.control.commands(w.ctx)
	if err != nil {
		return nil, fmt.Errorf("seed %d: the commands that the Cloud Controller received: %w", seed, err)
	}
	requests, err := w.control.router(w.ctx)
	if err != nil {
		return nil, fmt.Errorf("seed %d: what became of the users' requests: %w", seed, err)
	}
	w.recorder.end(syscall.SIGTERM)
	w.close()
	w.obs.requests(requests)
	r.Record = w.obs.finish(arrived)
	r.Violations = Judge(r.Record)
	return r, errors.Join(r.save(s.Dir))
}

// event is the begin or the end of a fault.
type event struct {
	at float64
	do func() error
}

// play injects the faults of the schedule when they are due, ends them, and at last makes sure that all have ended.
func (w *world) play(r *Result) error {
	began := time.Now()
	due := func(at float64) bool {
		return w.sleep(time.Until(began.Add(time.Duration(at * float64(w.Period)))))
	}
	note := func(format string, args ...any) {
		text := fmt.Sprintf("%.1f ", float64(time.Since(began))/float64(w.Period)) + fmt.Sprintf(format, args...)
		r.Done = append(r.Done, text)
		w.Logger.Info("fault bench", "seed", r.Seed, "done", text)
	}
	var events []event
	add := func(at float64, do func() error) {
		n, _ := slices.BinarySearchFunc(events, at, func(e event, at float64) int {
			if e.at <= at {
				return -1
			}
			return cmp.Compare(e.at, at)
		})
		events = slices.Insert(events, n, event{at, do})
	}
	for _, f := range r.Schedule {
		add(f.At, func() error {
			end, what, err := w.inject(f)
			note("%s %s", f.Kind, cmp.Or(what, string(f.Target)))
			if err != nil {
				note("%s was not possible: %v", f.Kind, err)
			}
			if end == nil {
				return nil
			}
			add(f.At+f.For, func() error {
				note("the end of %s", f.Kind)
				if f.After > 0 {
					add(f.At+f.For+f.After, w.letIn)
				}
				if f.Kind.changesCF() {
					w.cf.thaw()
				}
				if err := end(); err != nil {
					return fmt.Errorf("the end of %s: %w", f.Kind, err)
				}
				return nil
			})
			return nil
		})
	}
	for len(events) > 0 {
		e := events[0]
		events = events[1:]
		if !due(e.at) {
			return w.ctx.Err()
		}
		if err := e.do(); err != nil {
			return err
		}
	}
	for _, n := range w.nodes { // those that ended by themselves, as their disk was full
		if !n.running() {
			w.weaken(n)
			if err := n.start(); err != nil {
				return err
			}
		}
	}
	w.releasing.Wait()
	w.obs.mu.Lock()
	w.obs.rec.Healed = w.obs.now()
	w.obs.mu.Unlock()
	note("healed")
	return nil
}

// settle waits until what runs agrees with what is wanted and stays so for a while, and compares the nodes' states.
func (w *world) settle() {
	const calm = 4 // periods for which it must stay so
	since := time.Time{}
	began := time.Now()
	for w.boundHolds(calm*w.Period) && time.Since(began) < 2*w.Bound() {
		w.sleep(w.Period / 10)
		switch agrees := w.converged(); {
		case !agrees:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > calm*w.Period:
			w.obs.mu.Lock()
			w.obs.rec.Converged = since.Sub(w.obs.began)
			w.obs.mu.Unlock()
			w.compareStates()
			return
		}
	}
	w.obs.mu.Lock()
	w.obs.rec.Watched = w.obs.now()
	w.obs.mu.Unlock()
}

// boundHolds reports whether the time within which everything must agree, and some more, is not over.
func (w *world) boundHolds(more time.Duration) bool {
	w.obs.mu.Lock()
	defer w.obs.mu.Unlock()
	now := w.obs.now()
	return now < w.obs.rec.lastFault(now)+w.Bound()+more
}

// compareStates notes the states of the nodes at one index, if they come to be at one within a moment.
func (w *world) compareStates() {
	for range 100 {
		hashes := map[string]Hash{}
		same := map[uint64]int{}
		for _, n := range w.nodes {
			if s, err := w.status(n); err == nil {
				hashes[n.id] = Hash{s.Basis.Index, s.Hash}
				same[s.Basis.Index]++
			}
		}
		if len(hashes) == nodeCount && len(same) == 1 {
			w.obs.mu.Lock()
			w.obs.rec.Hashes = hashes
			w.obs.mu.Unlock()
			return
		}
		w.sleep(w.Period / 10)
	}
}

// save writes the record beside the logs, for a second look at it.
func (r *Result) save(dir string) error {
	f, err := os.Create(filepath.Join(dir, recordFile))
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	return errors.Join(json.NewEncoder(zip).Encode(r.Record), zip.Close(), f.Close())
}

const recordFile = "record.json.gz"

// Load reads the record that a run left in its directory.
func Load(dir string) (*Record, error) {
	f, err := os.Open(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var r Record
	return &r, json.NewDecoder(zip).Decode(&r)
}
