package replay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// largeScenes are the recordings of larger fleets, stored compressed. They contain the effect of hm's commands:
// replacements appear when the starts would have brought them.
func largeScenes(t testing.TB) map[string]*scene {
	return map[string]*scene{
		"large-evacuation": evacuation(t), "large-zone-lost": zoneLost(t), "large-nats-lost-during-a-deploy": deploy(t),
	}
}

// largeFleet adds DEAs and apps with two to six instances each, spread evenly.
func largeFleet(s *scene, deas, apps int) *scene {
	for i := range deas {
		s.dea(fmt.Sprintf("%03d", i))
	}
	next := 0
	for i := range apps {
		name, n := fmt.Sprintf("app-%04d", i), 2+i%5
		for index := range n {
			d := s.deas[next*7%deas]
			next++
			d.list = append(d.list, actual.Instance{App: recordingtest.Key(name, "v1"), GUID: app.MustGUID(fmt.Sprintf("%s-%d", name, index)), Index: uint32(index),
				State: actual.Running, Since: s.start.UnixMilli()})
		}
		s.wants(name, n)
	}
	return s
}

// move puts a replacement of an instance on a DEA.
func (s *scene) move(second float64, i actual.Instance, to *sceneDEA) {
	s.steps = append(s.steps, step{second, func(s *scene, _ *recording.Writer, _ time.Time) error {
		i.GUID, i.State, i.Since = app.MustGUID(i.GUID.String()+"-new"), actual.Running, s.start.UnixMilli()+int64(second*1000)
		to.list = append(slices.Clone(to.list), i)
		return nil
	}})
}

func evacuation(t testing.TB) *scene {
	const deas, gone = 120, 50
	s := largeFleet(newScene(t, "50 of 120 DEAs are evacuated, five at a time, one batch a minute", 900), deas, 400)
	for n := range gone {
		old := s.deas[n]
		at := 65 + float64(n/5)*60
		s.at(at, func(s *scene) {
			list := slices.Clone(old.list)
			for i := range list {
				list[i].State = actual.Evacuating
			}
			old.list = list
		})
		for i, inst := range old.list { // started as soon as the DEA evacuates, and listed one period later
			s.move(at+14, inst, s.deas[gone+(n*31+i*7)%(deas-gone)])
		}
		s.at(at+26, func(s *scene) { old.list = nil }) // stopped once their replacements run
		s.quiet(at+45, true, old.id[len("dea-"):])
	}
	return s
}

func zoneLost(t testing.TB) *scene {
	const deas, gone, perPeriod = 90, 30, 60
	s := largeFleet(newScene(t, "one of three availability zones is lost: 30 of 90 DEAs with a third of all instances, which are started elsewhere at 60 a heartbeat", 600), deas, 400)
	moved := 0
	for n := range gone {
		s.quiet(60, true, fmt.Sprintf("%03d", n))
		for _, inst := range s.deas[n].list {
			s.move(125+float64(moved/perPeriod)*10, inst, s.deas[gone+moved%(deas-gone)])
			moved++
		}
	}
	return s
}

func deploy(t testing.TB) *scene {
	const deas, apps, pushed = 60, 200, 40
	s := largeFleet(newScene(t, "NATS is lost for ten minutes while 40 of 200 apps are pushed anew and three DEAs die: nothing is sent until the picture is fresh", 1200), deas, apps)
	s.link(120, false).link(720, true)
	for n := range pushed {
		name, count := fmt.Sprintf("app-%04d", n*5), 2+n*5%5
		s.want(130+float64(n)*12, name, "v2", count, desired.Started, desired.Staged)
		for index := range count {
			// The Cloud Controller cannot reach the DEAs, so hm's starts bring the new version.
			s.put(790+float64(n/8)*10, s.deas[(n*11+index*5)%50].id[len("dea-"):], name, "v2", index, fmt.Sprintf("%s-%d-v2", name, index), actual.Running)
			s.lose(890, fmt.Sprintf("%s-%d", name, index))
		}
	}
	// After link(720, true) every DEA sends heartbeats again; three do not.
	s.quiet(720, true, "057", "058", "059")
	for n, id := range []int{57, 58, 59} {
		for i, inst := range s.deas[id].list {
			s.move(800, inst, s.deas[(n*17+i*3)%50])
		}
	}
	return s
}
