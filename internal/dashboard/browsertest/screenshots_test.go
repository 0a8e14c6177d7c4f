//go:build !race

package browsertest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"hm/internal/liveview"
	"hm/internal/sandbox"
)

// TestScreenshots takes the pictures of docs/images: of a sandbox at work, with small faults all the time, an app that
// crashes again and again, an outage of NATS, and the loss of most DEAs. HM_TEST_SCREENSHOTS is the folder to write to;
// HM_TEST_SECONDS is how long the sandbox runs before the first picture, so that the charts have something to show.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("HM_TEST_SCREENSHOTS")
	if dir == "" {
		t.Skip("run make screenshots")
	}
	if _, err := exec.LookPath("pngquant"); err != nil {
		t.Fatal("pngquant is missing: install Debian's package pngquant")
	}
	f := startFoundry(t, func(o *sandbox.Options) {
		o.DEAs, o.Apps, o.Heartbeat, o.CCPassive = 120, 400, 2*time.Second, true
		o.Sets = append(o.Sets, "policy.start_limit=0", "guard.mass_loss_hold=600")
	})
	s := studio{t: t, f: f, dir: dir}
	t.Log(f.press(liveview.CrashLoop))
	looping := f.loopingApp()
	s.live(secondsOf(t, "HM_TEST_SECONDS", 360))

	s.take("overview", "/")
	s.take("app-in-a-crash-loop", "/apps/"+looping)
	f.press(liveview.EvacuateDEA)
	f.press(liveview.KillDEA)
	time.Sleep(4 * time.Second)
	s.take("deas", "/deas")
	s.take("events", "/events")
	f.press(liveview.CrashLoop)
	f.press(liveview.ReviveDEAs)
	f.await("a healthy sandbox", settled)

	f.press(liveview.ToggleNATS)
	time.Sleep(8 * time.Second)
	s.take("nats-outage", "/")
	f.press(liveview.ToggleNATS)
	f.await("a healthy sandbox", settled)

	s.loseMost()
	f.await("a hold", func(frame liveview.Frame) bool { return frame.Status != nil && len(frame.Status.Holds) > 0 })
	time.Sleep(3 * time.Second)
	s.take("mass-loss", "/")
	s.take("mass-loss-deas", "/deas")
	s.take("mass-loss-cluster", "/cluster")
}

// studio takes pictures of a sandbox.
type studio struct {
	t   *testing.T
	f   *foundry
	dir string
}

// live lets small things happen for a while.
func (s studio) live(lasts time.Duration) {
	small := []liveview.Action{liveview.CrashOne, liveview.CrashOne, liveview.ScaleUp, liveview.ScaleDown, liveview.UpdateApp,
		liveview.CrashOne, liveview.AddApp, liveview.DeleteApp, liveview.KillDEA, liveview.ReviveDEAs}
	rng := rand.New(rand.NewPCG(1, 1))
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		s.f.View().Do(small[rng.IntN(len(small))])
		time.Sleep(time.Second + time.Duration(rng.Int64N(int64(6*time.Second))))
	}
	s.f.View().Do(liveview.ReviveDEAs)
	s.f.await("little drift", func(f liveview.Frame) bool { return gateOpen(f) && f.Status.Drift.Missing == 0 })
}

// loseMost kills two thirds of the DEAs.
func (s studio) loseMost() {
	fleet := s.f.Simulation().Fleet
	deas := fleet.DEAs(0, 1<<20)
	for i, d := range deas {
		if i%3 > 0 && d.Status == "serving" {
			if err := fleet.Kill(d.ID); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// looks are how each page is taken, by the end of the file's name.
var looks = map[string]look{
	"":       desktop,
	"-dark":  desktop.inDark(),
	"-phone": {width: 390, height: 844, phone: true, dark: true, scale: 1.5},
}

// take takes a page in all looks.
func (s studio) take(name, path string) {
	for suffix, l := range looks {
		b := openTab(s.t, s.f.leader(), l)
		call(b, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
		b.visit(path)
		b.awaitRenewed() // so that what the script draws is there
		time.Sleep(500 * time.Millisecond)
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			s.t.Fatal(err)
		}
		small := exec.Command("pngquant", "--speed", "1", "--strip", "128", "-")
		small.Stdin = bytes.NewReader(png)
		out, err := small.Output()
		if err != nil {
			s.t.Fatalf("pngquant: %v", err)
		}
		file := filepath.Join(s.dir, name+suffix+".png")
		if err := os.WriteFile(file, out, 0o644); err != nil {
			s.t.Fatal(err)
		}
		s.t.Logf("%s: %d KB", file, len(out)>>10)
	}
}
