package diff

import (
	"cmp"
	"slices"
	"time"

	"hm/actual"
	"hm/commands"
)

// replaced adds the finding of an instance that has been STARTING for too long: it is stopped once another one runs
// that is not being stopped itself (R63).
func (e *evaluation) replaced(inst *actual.Located, g group) {
	stays := func(l actual.Located) bool {
		return l.State == actual.Running && e.outstanding(commands.Stop, g.index, l.GUID) == nil
	}
	switch {
	case g.running > 0:
		block := WhyNothing
		if !slices.ContainsFunc(g.instances, stays) {
			block = WhyOtherStop
		}
		// A stop that was scheduled when it still counted as a duplicate (R20) keeps its time.
		e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R63", Reason: commands.ReasonDuplicate}, 0, WhyDuplicateGrace, block)
		e.unlessQuiet(g)
	case g.live() > 0:
		e.add(about(inst, Finding{Bucket: Wait, Kind: KindDuplicate, Rule: "R63", Why: WhyReplacement}))
	default:
		e.keep(inst, "R63", WhyStuck)
	}
}

// duplicates adds the findings of several live instances at one desired index (R20). One stays: a RUNNING instance
// before a STARTING one, then one that was not told to stop, then the one that was recorded first. At most one is
// being stopped at any time, so that they can never all be (W02, I3).
func (e *evaluation) duplicates(g group) {
	var staying []*actual.Located
	leaving := false
	for i := range g.instances {
		inst := &g.instances[i]
		if !e.live(inst) {
			continue
		}
		if o := e.outstanding(commands.Stop, g.index, inst.GUID); o != nil && o.SentAt != 0 && e.now < e.expiry(o) {
			leaving = true
			e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R20", Reason: o.Reason}, 0, WhyNothing, WhyNothing)
			continue
		}
		staying = append(staying, inst)
	}
	asked := func(inst *actual.Located) int { // 1 if a stop of it is scheduled, or was sent without effect
		if e.outstanding(commands.Stop, g.index, inst.GUID) != nil {
			return 1
		}
		return 0
	}
	slices.SortFunc(staying, func(a, b *actual.Located) int {
		return cmp.Or(cmp.Compare(b.State, a.State), asked(a)-asked(b), cmp.Compare(a.Heard, b.Heard), a.GUID.Compare(b.GUID))
	})
	scheduled := func(inst *actual.Located) bool {
		o := e.outstanding(commands.Stop, g.index, inst.GUID)
		return o != nil && o.SentAt == 0 && o.Reason == commands.ReasonDuplicate
	}
	ahead := 0 // instances with a scheduled stop: the others follow them
	for _, inst := range staying[min(1, len(staying)):] {
		if scheduled(inst) {
			ahead++
		}
	}
	for i, inst := range staying {
		if i == 0 {
			e.keep(inst, "R20", WhyNothing)
			continue
		}
		block := WhyNothing
		if leaving {
			block = WhyOtherStop
		}
		delay := time.Duration(e.p.DuplicateGrace+ahead) * e.p.Grace
		if !scheduled(inst) {
			ahead++
		}
		e.stop(inst, Finding{Kind: KindDuplicate, Rule: "R20", Reason: commands.ReasonDuplicate}, delay, WhyDuplicateGrace, block)
		e.unlessQuiet(g)
		if due := e.findings[len(e.findings)-1].Bucket; due == ToStop || due == Hold {
			leaving = true
		}
	}
}
