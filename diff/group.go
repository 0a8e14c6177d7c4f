package diff

import (
	"hm/actual"
)

// live reports whether an instance is live: STARTING for not too long, or RUNNING.
func (e *evaluation) live(inst *actual.Located) bool {
	return inst.State.Live() && !e.stuck(inst)
}

func (e *evaluation) stuck(inst *actual.Located) bool {
	return inst.State == actual.Starting && e.p.StartingTTL > 0 && e.now >= inst.Heard.Add(e.p.StartingTTL)
}

// group has the instances at one index.
type group struct {
	index                                  uint32
	instances                              []actual.Located
	starting, running, crashed, evacuating int
	counted                                int // crashed instances that were counted and not answered
	stuck                                  int // STARTING for too long: not among starting
	quiet                                  int // live instances on DEAs that have missed a heartbeat
}

func (g group) live() int { return g.starting + g.running }

// groups yields a group for each index that has instances, in order.
func (e *evaluation) groups() func(yield func(group) bool) {
	return func(yield func(group) bool) {
		for rest := e.in.Instances; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Index == rest[0].Index {
				n++
			}
			g := group{index: rest[0].Index, instances: rest[:n]}
			for i := range g.instances {
				inst := &g.instances[i]
				if inst.Quiet && e.live(inst) {
					g.quiet++
				}
				switch inst.State {
				case actual.Starting:
					if e.stuck(inst) {
						g.stuck++
					} else {
						g.starting++
					}
				case actual.Running:
					g.running++
				case actual.Crashed:
					g.crashed++
					if inst.Mark == actual.CrashCounted {
						g.counted++
					}
				case actual.Evacuating:
					g.evacuating++
				}
			}
			if !yield(g) {
				return
			}
			rest = rest[n:]
		}
	}
}
