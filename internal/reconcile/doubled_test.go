package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// twoWithOneID makes two DEAs of a steady simulation share an id. apart is the time between their
// heartbeats.
func twoWithOneID(t *testing.T, apart time.Duration) (cf *simCF, one, two *simDEA) {
	cf = steadyFleet(t, 6, 30, testOptions())
	one, two = cf.deas["dea-001"], cf.deas["dea-002"]
	two.id, two.nextBeat = one.id, one.nextBeat.Add(apart)
	return cf, one, two
}

func (cf *simCF) isDoubled(id string) bool {
	return slices.Contains(cf.intake.Unreadable().Doubled, id)
}

// TestW12ADoubledIDIsFound soon, whatever the time between the two heartbeats is, and costs nothing
// from then on.
func TestW12ADoubledIDIsFound(t *testing.T) {
	for _, apart := range []time.Duration{10 * time.Millisecond, time.Second, hb / 2, hb - time.Second, hb - 10*time.Millisecond} {
		t.Run(apart.String(), func(t *testing.T) {
			cf, one, two := twoWithOneID(t, apart)
			cf.run(6 * hb)
			if !cf.isDoubled(one.id) || cf.isDoubled("dea-003") {
				t.Fatalf("doubled are %v", cf.intake.Unreadable().Doubled)
			}
			trouble, any := cf.intake.Trouble(one.id, cf.now)
			if since := cf.now.Sub(trouble.Doubled); !any || since <= 0 || since > 5*hb {
				t.Errorf("told of it is %+v", trouble)
			}
			index := cf.index
			for range 40 {
				cf.run(hb)
				one.nextBeat, two.nextBeat = one.nextBeat+7, two.nextBeat-3 // no two timers are alike
			}
			if cf.index != index {
				t.Errorf("%d entries were written", cf.index-index)
			}
			both := slices.Concat(one.list, two.list)
			if got := cf.View().DEAInstances(nil, one.id); !sameInstances(got, both) {
				t.Errorf("%d instances are recorded of the two, want %d", len(got), len(both))
			}
			cf.wantSent("both beat", 0, 0)
			lost := two.list[0]
			two.list = two.list[1:]
			began := cf.now
			for cf.recordedAs(one.id, lost.GUID) != 0 && cf.now.Sub(began) < 10*hb {
				cf.run(hb / 10)
			}
			if after := cf.now.Sub(began); after > 3*hb+hb/10 {
				t.Errorf("that one lost an instance is noticed after %v", after)
			}
			cf.run(5 * hb)
			cf.wantSent("one of the two has lost an instance", 1, 0)
		})
	}
}

// TestW12ADoubledIDIsFoundWhateverTheOrder: messages of the two come in bursts, several of one and then
// several of the other. The lists count from the first time on that instances come back.
func TestW12ADoubledIDIsFoundWhateverTheOrder(t *testing.T) {
	for _, burst := range []int{2, 3} {
		cf := steadyFleet(t, 6, 30, testOptions())
		one, two := cf.deas["dea-001"], cf.deas["dea-002"]
		two.id = one.id
		one.nextBeat, two.nextBeat = maxTime, maxTime
		both, goes, rev := slices.Concat(one.list, two.list), 0, uint64(0)
		for n := range 24 {
			d := []*simDEA{one, two}[n/burst%2]
			cf.heartbeat(d)
			cf.run(hb / 2)
			if rec, _ := cf.View().DEA(one.id); rec.Rev != rev {
				goes, rev = goes+1, rec.Rev
			}
		}
		if !cf.isDoubled(one.id) {
			t.Errorf("bursts of %d: the id is not found doubled", burst)
		}
		if goes > 3 {
			t.Errorf("bursts of %d: the record changed %d times, want 3: one list, the other, both", burst, goes)
		}
		if !sameInstances(cf.View().DEAInstances(nil, one.id), both) {
			t.Errorf("bursts of %d: not the instances of both are recorded", burst)
		}
		cf.wantSent("both beat", 0, 0)
	}
}

// TestW12OneNewListIsOneDEA: a DEA is restarted with other instances, and a message of before is late.
func TestW12OneNewListIsOneDEA(t *testing.T) {
	cf := steadyFleet(t, 6, 30, testOptions())
	d := cf.deas["dea-001"]
	old, fresh := d.list, []actual.Instance{}
	for _, i := range d.list {
		fresh = append(fresh, cf.instance(i.App, i.Index, actual.Running))
	}
	d.list = fresh
	cf.heartbeat(d)
	d.list = old
	cf.heartbeat(d)
	d.list = fresh
	cf.heartbeat(d)
	cf.run(5 * hb)
	if cf.isDoubled(d.id) || cf.intake.deas[d.id].idUse.lists != nil || !sameInstances(cf.View().DEAInstances(nil, d.id), fresh) {
		t.Errorf("doubled: %v; lists %v", cf.isDoubled(d.id), cf.intake.deas[d.id].idUse.lists)
	}
	cf.wantSent("the instances are as many as before", 0, 0)
}

// TestW12ItEndsWhenOneIsGone, a time to live later.
func TestW12ItEndsWhenOneIsGone(t *testing.T) {
	for name, end := range map[string]func(one, two *simDEA){
		"the first is gone":  func(one, _ *simDEA) { one.quiet = true },
		"the second is gone": func(_, two *simDEA) { two.quiet = true },
		"it has its own id":  func(_, two *simDEA) { two.id = "dea-new" },
		"both are gone":      func(one, two *simDEA) { one.quiet, two.quiet = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			cf, one, two := twoWithOneID(t, hb/3)
			cf.run(6 * hb)
			end(one, two)
			cf.run(2 * hb)
			if !cf.isDoubled(one.id) {
				t.Error("it has ended within a time to live")
			}
			cf.run(5 * hb)
			if cf.isDoubled(one.id) {
				t.Error("it has not ended after a time to live")
			}
			if d := cf.intake.deas[one.id]; d != nil && d.idUse.lists != nil {
				t.Errorf("%d lists are still kept", len(d.idUse.lists))
			}
		})
	}
}

// TestW12TimeInWhichNobodyIsHeardEndsNothing: when the link is back, each of the two is heard alone
// at first.
func TestW12TimeInWhichNobodyIsHeardEndsNothing(t *testing.T) {
	for name, trouble := range map[string]func(cf *simCF){
		"an outage": func(cf *simCF) {
			cf.setLink(false)
			cf.run(10 * hb)
			cf.setLink(true)
		},
		"a silence": func(cf *simCF) {
			cf.silentUntil = cf.now.Add(10 * hb)
			cf.run(10 * hb)
		},
		"a late link": func(cf *simCF) {
			cf.slowDown(cf.simNode, 8, 10*hb)
			cf.run(10*hb + time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf, one, two := twoWithOneID(t, hb/3)
			cf.run(6 * hb)
			index := cf.index
			trouble(cf)
			for range 60 {
				if cf.run(hb / 20); !cf.isDoubled(one.id) {
					t.Fatal("it has ended")
				}
			}
			if cf.index != index {
				t.Errorf("%d entries were written", cf.index-index)
			}
			cf.run(5 * hb)
			cf.wantSent("both still beat", 0, 0)
			two.quiet = true
			cf.run(5 * hb)
			if cf.isDoubled(one.id) {
				t.Error("one of them is gone, and it has not ended after a time to live")
			}
		})
	}
}

// TestW12OneThatChangesHidesNothing: the two are found although one of them sends new lists now and
// then.
func TestW12OneThatChangesHidesNothing(t *testing.T) {
	for _, every := range []int{1, 2, 3, 5} {
		cf, one, two := twoWithOneID(t, hb/3)
		for n := range 20 {
			if n%every == 0 {
				two.list[0].Since++
			}
			cf.run(hb)
		}
		if !cf.isDoubled(one.id) {
			t.Errorf("not found, when every %d. heartbeat of one of the two is new", every)
		}
		cf.wantSent("both beat", 0, 0)
	}
}

// TestW12OneDEAIsNotTwo, whatever it sends, and whenever it sends it.
func TestW12OneDEAIsNotTwo(t *testing.T) {
	flap := func(d *simDEA) { d.list[0].State = actual.Starting + actual.Running - d.list[0].State }
	for name, live := range map[string]func(cf *simCF, d *simDEA, rnd *rand.Rand){
		"that flaps with each heartbeat": func(cf *simCF, d *simDEA, _ *rand.Rand) {
			flap(d)
			cf.run(hb)
		},
		"that flaps, and comes early and late": func(cf *simCF, d *simDEA, rnd *rand.Rand) {
			flap(d)
			d.nextBeat = d.nextBeat.Add(time.Duration(rnd.Int64N(int64(hb/2))) - hb/4)
			cf.run(hb)
		},
		"that says everything twice": func(cf *simCF, d *simDEA, _ *rand.Rand) {
			flap(d)
			cf.run(hb / 2)
			cf.heartbeat(d)
			cf.run(hb / 2)
		},
		"that evacuates, and beats every half period": func(cf *simCF, d *simDEA, _ *rand.Rand) {
			for i := range d.list {
				d.list[i].State = actual.Evacuating
			}
			cf.run(hb / 2)
			cf.heartbeat(d)
			cf.run(hb / 2)
		},
		"that says at once what is new": func(cf *simCF, d *simDEA, rnd *rand.Rand) {
			cf.run(hb / 3)
			d.list[rnd.IntN(len(d.list))].Since++
			cf.heartbeat(d)
			cf.run(hb - hb/3)
		},
		"that falls silent and returns": func(cf *simCF, d *simDEA, _ *rand.Rand) {
			flap(d)
			d.quiet = !d.quiet
			cf.run(3*hb - time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 6, 30, testOptions())
			d, rnd := cf.deas["dea-001"], rand.New(rand.NewPCG(1, 1))
			for range 40 {
				if live(cf, d, rnd); cf.isDoubled(d.id) {
					t.Fatalf("it is taken for two")
				}
			}
		})
	}
}

// TestW12OneInstanceInTwoStates: the DEA that runs it is right.
func TestW12OneInstanceInTwoStates(t *testing.T) {
	for _, st := range []actual.State{actual.Crashed, actual.Evacuating, actual.Stopping, actual.Unknown} {
		for _, first := range []bool{true, false} {
			cf, one, two := twoWithOneID(t, hb/3)
			i := one.list[0]
			two.list = append(two.list, i)
			cf.run(8 * hb)
			if !cf.isDoubled(one.id) {
				t.Fatal("the id is not found doubled")
			}
			if index := cf.index; first {
				one.list[0].State = st
				cf.run(20 * hb)
				if cf.index != index {
					t.Errorf("%v by the first: %d entries", st, cf.index-index)
				}
			} else {
				two.list[len(two.list)-1].State = st
				cf.run(20 * hb)
			}
			if got := cf.recordedAs(one.id, i.GUID); got != actual.Running {
				t.Errorf("%v by the first: %v: recorded as %v", st, first, got)
			}
			cf.wantSent("one says that it runs", 0, 0)
		}
	}
}

// TestDoubledIDsAreBounded: a stream of messages under one id keeps no more than the newest.
func TestDoubledIDsAreBounded(t *testing.T) {
	var b idUse
	now := app.Time(1_700_000_000_000)
	for n := range 1000 {
		hb1 := &actual.Heartbeat{DEA: "d"}
		b.note(actual.Digest{byte(n % 2)}, now, 0, hb, 3*hb)
		b.merge(hb1, now, 0, hb, 3*hb)
		now = now.Add(time.Millisecond)
	}
	if !b.doubled() || len(b.lists) > maxLists {
		t.Errorf("doubled: %v, %d lists", b.doubled(), len(b.lists))
	}
}

// TestW12AMessageThatIsLateOrCannotBeDecodedHidesNoList: what one of the two lists counts for its
// whole time to live, and for as long as messages arrive that may be its own.
func TestW12AMessageThatIsLateOrCannotBeDecodedHidesNoList(t *testing.T) {
	for name, trouble := range map[string]func(cf *simCF, two *simDEA){
		"one of them is late": func(cf *simCF, two *simDEA) {
			two.nextBeat = two.nextBeat.Add(hb - hb/10)
			cf.run(3 * hb)
		},
		"one of them sends what cannot be decoded": func(cf *simCF, two *simDEA) {
			two.garbles = true
			cf.run(30 * hb)
			two.garbles = false
		},
		"both send what cannot be decoded": func(cf *simCF, two *simDEA) {
			one := cf.deas["dea-001"]
			one.garbles, two.garbles = true, true
			cf.run(30 * hb)
			one.garbles, two.garbles = false, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf, one, two := twoWithOneID(t, hb/3)
			cf.run(6 * hb)
			trouble(cf, two)
			cf.run(6 * hb)
			if both := slices.Concat(one.list, two.list); !sameInstances(cf.View().DEAInstances(nil, one.id), both) || !cf.isDoubled(one.id) {
				t.Errorf("recorded are %d instances of the two, want %d; doubled: %v", len(cf.View().DEAInstances(nil, one.id)), len(both), cf.isDoubled(one.id))
			}
			cf.wantSent("both run", 0, 0)
		})
	}
}

// TestW12AMessageThatCannotBeDecodedKeepsNoListForEver: one of the two sends what cannot be decoded,
// and it has lost its instances.
func TestW12AMessageThatCannotBeDecodedKeepsNoListForEver(t *testing.T) {
	cf, _, two := twoWithOneID(t, hb/3)
	cf.run(6 * hb)
	lost := len(two.list)
	two.garbles, two.list, two.closed = true, nil, true
	cf.run(garbledTTLs * 3 * hb / 2)
	cf.wantSent("hm cannot know", 0, 0)
	cf.run(garbledTTLs * 3 * hb)
	cf.wantSent("nothing of the list was heard for long", lost, 0)
}
