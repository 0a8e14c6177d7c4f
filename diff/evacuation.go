package diff

import (
	"hm/actual"
	"hm/commands"
)

// evacuating adds the finding of an evacuating instance at a desired index (R25 to R29).
func (e *evaluation) evacuating(inst *actual.Located, g group) {
	complete := Finding{Kind: KindEvacuating, Reason: commands.ReasonEvacuationComplete}
	switch {
	case !e.staged:
		complete.Rule = "R25"
	case g.running > 0:
		complete.Rule = "R26"
	case g.live() > 0:
		e.add(about(inst, Finding{Bucket: Wait, Kind: KindEvacuating, Rule: "R27", Why: WhyReplacement}))
		return
	case e.remembered(g.index).Count > 0:
		complete.Rule = "R28"
	default:
		e.keep(inst, "R29", WhyReplacement)
		return
	}
	e.stop(inst, complete, 0, WhyNothing, WhyNothing)
	e.unlessQuiet(g)
}
