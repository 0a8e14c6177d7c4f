//go:build !race

package browsertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/liveview"
	"hm/internal/words"
)

// TestLive looks at a sandbox while its faults happen. The parts share it, since it takes seconds to start; each leaves
// it healthy.
func TestLive(t *testing.T) {
	f := startFoundry(t, nil)
	for _, part := range []struct {
		name string
		test func(*testing.T, *foundry)
	}{
		{"the gate on the screen follows an outage of NATS", testGateOnScreen},
		{"a pause from the page closes the gate and says who", testPauseFromThePage},
		{"a crash loop is visible", testCrashLoopIsVisible},
		{"events arrive over a change of the node, each once", testEventsOverAChangeOfNode},
		{"events are filtered", testEventsAreFiltered},
		{"ten browsers look on and none is refused", testTenBrowsers},
		{"the panel of the sandbox does what the keys do", testSandboxPanel},
	} {
		t.Run(part.name, func(t *testing.T) {
			f.t = t
			part.test(t, f)
			f.await("a healthy sandbox", settled)
		})
	}
}

// watchGate notes in the page when the gate on it was first seen in each state.
const watchGate = `
window.hmGate = {};
const note = () => { const s = document.querySelector("#gate")?.dataset.state; if (s && !(s in hmGate)) hmGate[s] = Date.now(); };
new MutationObserver(note).observe(document, {subtree: true, childList: true, attributes: true});`

// TestGateIsWatchedAgain holds that watchGate can run again in the same page, and then forgets what it saw before.
func TestGateIsWatchedAgain(t *testing.T) {
	b := openTab(t, serve(t, apitest.WithUnreadable()), desktop)
	b.visit("/")
	for _, state := range []string{"first", "second"} {
		b.script(watchGate)
		b.script(fmt.Sprintf(`document.querySelector("#gate").dataset.state = %s;`, quote(state)))
		b.await("the gate in its "+state+" state", fmt.Sprintf("hmGate[%s] > 0", quote(state)))
	}
	if b.has("hmGate.first") {
		t.Error("what was seen before is still there")
	}
}

// screenDelay is how long after NATS has stopped the screen may show that. The fastest of three outages counts, since
// the machine may be busy with other tests.
const screenDelay = 2 * time.Second

func testGateOnScreen(t *testing.T, f *foundry) {
	b := openTab(t, f.leader(), desktop)
	b.visit("/")
	b.await("an open gate", `document.querySelector("#gate").dataset.state === "open"`)
	best := time.Hour
	for range 3 {
		b.script(watchGate)
		stopped := time.Now()
		t.Log(f.press(liveview.ToggleNATS))
		b.await("a closed gate", `document.querySelector("#gate").dataset.state === "closed"`)
		b.awaitText("#gate", "nats-down")
		var closed int64
		b.eval("hmGate.closed", &closed)
		took := time.UnixMilli(closed).Sub(stopped)
		t.Logf("the screen showed the outage after %v", took)
		best = min(best, took)
		t.Log(f.press(liveview.ToggleNATS))
		b.await("an open gate", `document.querySelector("#gate").dataset.state === "open"`)
		f.await("an open gate", gateOpen)
		if best < screenDelay {
			break
		}
	}
	if best >= screenDelay {
		t.Errorf("the screen shows an outage of NATS only after %v", best)
	}
	b.checkStill("overview during an outage")
	b.checkAccess("overview after an outage", allRules)
}

func testPauseFromThePage(t *testing.T, f *foundry) {
	b := openTab(t, f.leader(), desktop)
	watcher := openTab(t, f.urls[0], desktop) // perhaps of a follower
	watcher.visit("/")
	b.visit("/cluster")
	b.pauseByForm("switches are being replaced", "pat")
	b.awaitText("#gate", "paused")
	b.awaitText("main", "switches are being replaced")
	watcher.await("a closed gate", `document.querySelector("#gate").dataset.state === "closed"`)
	holds := statusOf(t.Context(), t, client(t, f.leader())).Holds
	if len(holds) != 1 || !strings.Contains(holds[0].By, "pat") || !strings.Contains(b.text("main"), holds[0].By) {
		t.Errorf("the page does not say who set %+v:\n%s", holds, b.text("main"))
	}
	b.resumeByForm()
	b.await("an open gate", `document.querySelector("#gate").dataset.state === "open"`)
	watcher.await("an open gate", `document.querySelector("#gate").dataset.state === "open"`)
	b.checkStill("cluster while it is paused")
}

// pauseByForm fills in the form that pauses hm, and sends it.
func (b *tab) pauseByForm(reason, by string) {
	b.t.Helper()
	b.click(`details:has([action="/do/pause"]) > summary`)
	b.do("filling in the form", chromedp.SendKeys(chromedp.CSS("#pause-reason"), reason), chromedp.SendKeys(chromedp.CSS("#pause-by"), by))
	b.click(`[action="/do/pause"] button`)
}

// resumeByForm ends the pause by its form.
func (b *tab) resumeByForm() {
	b.t.Helper()
	b.click("#hold-paused summary")
	b.click(`#hold-paused [name="confirm"]`)
	b.click("#hold-paused button")
}

// loopingApp returns the app that crashes in a sandbox.
func (f *foundry) loopingApp() (guid string) {
	f.t.Helper()
	for _, a := range f.Simulation().Apps(0, 1000) {
		for _, fault := range f.View().Frame().Faults {
			if strings.Contains(fault, words.Short(a.GUID.String())) {
				return a.GUID.String()
			}
		}
	}
	f.t.Fatal("no app crash-loops")
	return ""
}

func testCrashLoopIsVisible(t *testing.T, f *foundry) {
	t.Log(f.press(liveview.CrashLoop))
	f.await("a crash", func(frame liveview.Frame) bool {
		return len(frame.Faults) > 0 && frame.Status != nil && frame.Status.Drift.Crashed > 0
	})
	guid := f.loopingApp()
	b := openTab(t, f.leader(), desktop)
	b.visit("/apps?show=crashed")
	b.awaitText("main", words.Short(guid))
	b.visit("/apps/" + guid)
	b.awaitText("main", "CRASHED")
	b.await("several crashes", `/[2-9] crash/.test(document.querySelector("main").innerText)`)
	b.checkStill("an app that crashes again and again")
	b.checkAccess("an app that crashes again and again", allRules)
	b.show(phone.inDark())
	b.checkFits("of an app that crashes again and again, on a phone")
	b.checkAccess("an app that crashes again and again, on a phone", lookRules)
	t.Log(f.press(liveview.CrashLoop))
}

func testEventsAreFiltered(t *testing.T, f *foundry) {
	b := openTab(t, f.leader(), desktop)
	b.visit("/events?kind=dea")
	t.Log(f.press(liveview.KillDEA))
	b.await("the lost DEA", `[...document.querySelectorAll("main [data-row]")].some(e => e.innerText.includes("dea.lost"))`)
	var others []string
	b.eval(`[...document.querySelectorAll("main [data-row] .kind")].map(e => e.innerText).filter(k => !k.startsWith("dea"))`, &others)
	if len(others) > 0 {
		t.Errorf("the page shows events of other kinds: %q", others)
	}
	t.Log(f.press(liveview.ReviveDEAs))
}

// testEventsOverAChangeOfNode: behind one address, another node answers once the first is gone. The events have the same
// ids on all nodes, so the page goes on where it was.
func testEventsOverAChangeOfNode(t *testing.T, f *foundry) {
	door := openFrontDoor(t, f.leader())
	b := openTab(t, door.url, desktop)
	b.tolerate("502") // while no node answers
	b.tolerate("ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.visit("/events")
	b.await("events", `document.querySelectorAll("main [data-row]").length > 0`)
	first := b.newestEvent()
	t.Log(f.press(liveview.CrashOne))
	b.await("a new event", fmt.Sprintf(`document.querySelector("main [data-row]").id !== %s`, quote(first)))

	former := f.leader()
	t.Log(f.press(liveview.ToggleLeader))
	f.await("another leader", func(frame liveview.Frame) bool { return gateOpen(frame) && f.leader() != former })
	door.leadTo(f.leader())
	t.Log(f.press(liveview.CrashOne))
	f.await("the correction", settled)

	var all []string // on the node, the newest first
	b.awaitUntil("the events of the node on the page", func() bool {
		list, err := client(t, f.leader()).Events(t.Context(), api.EventQuery{}, 1000)
		if err != nil {
			return false
		}
		all = all[:0]
		for _, e := range slices.Backward(list.Items) {
			all = append(all, "e-"+e.ID)
		}
		var shown []string
		b.eval(`[...document.querySelectorAll("main [data-row]")].map(e => e.id)`, &shown)
		return slices.Contains(shown, first) && slices.Equal(shown, all[:min(len(all), len(shown))])
	})
	b.checkStill("events over a change of the node")
}

// newestEvent returns the id of the newest event on the page.
func (b *tab) newestEvent() (id string) {
	b.t.Helper()
	b.eval(`document.querySelector("main [data-row]").id`, &id)
	return id
}

// testSandboxPanel: what the keys of hm dev do, the page does too.
func testSandboxPanel(t *testing.T, f *foundry) {
	b := openTab(t, f.leader(), desktop)
	b.visit("/sandbox")
	b.click(`button[value="kill-dea"]`)
	b.awaitText("main", "killed DEA")
	f.await("a DEA that is gone", func(frame liveview.Frame) bool { return len(frame.Faults) > 0 })
	b.awaitText("main", "1 DEA gone")
	b.click(`button[value="revive-deas"]`)
	b.awaitText("main", "brought 1 DEA back")
	for _, k := range liveview.DevKeys {
		if k.Action != liveview.Quit && !b.has(fmt.Sprintf(`document.querySelector('button[value="%s"]')`, k.Action)) {
			t.Errorf("the panel lacks %s", k.Action)
		}
	}
}

// testTenBrowsers: ten clients do what pages do while commands flow.
func testTenBrowsers(t *testing.T, f *foundry) {
	sent := statusOf(t.Context(), t, client(t, f.leader())).Commands.SentStarts
	all, end := lookAt(t.Context(), f.leader(), []string{
		"/", "/", "/apps", "/apps?show=drift", "/deas", "/deas?sort=instances", "/commands", "/events", "/cluster", "/sandbox",
	})
	for range 5 {
		f.press(liveview.CrashOne)
	}
	f.await("commands, and an answer for each browser", func(frame liveview.Frame) bool {
		answers, _, _, _, _ := all.sums()
		return answers >= len(all) && settled(frame) && frame.Status.Commands.SentStarts > sent
	})
	end()
	answers, median, p99, bytes, errs := all.sums()
	t.Logf("%d answers of %d KB, half of them within %v, 99%% within %v", answers, bytes>>10, median, p99)
	if answers < len(all) {
		t.Errorf("ten browsers had only %d answers", answers)
	}
	for _, err := range errs {
		t.Error(err)
	}
}
