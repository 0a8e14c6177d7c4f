package replay

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"hm/diff"
	"hm/internal/config"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

var (
	update   = flag.Bool("update", false, "update the golden results")
	generate = flag.Bool("generate", false, "update the recordings that are made of scenes")
)

func gap(w *recording.Writer, now time.Time) error { return w.Link(now, true, true) }

// corpus returns the paths of the recordings, by name.
func corpus(t testing.TB) map[string]string {
	files, err := os.ReadDir(recordingtest.Corpus)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		for _, ending := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
			if name, ok := strings.CutSuffix(f.Name(), ending); ok {
				all[name] = filepath.Join(recordingtest.Corpus, f.Name())
			}
		}
	}
	return all
}

// optionsFor returns the options in a recording's header.
func optionsFor(t testing.TB, sources ...recording.Source) Options {
	t.Helper()
	r, err := recording.NewReader(sources...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cfg := config.Default()
	if err := r.Header().Configure(&cfg, nil); err != nil {
		t.Fatal(err)
	}
	return OptionsOf(cfg)
}

// replay plays a recording with the policy of its header.
func replay(t testing.TB, sources ...recording.Source) Result {
	t.Helper()
	result, err := Run(t.Context(), optionsFor(t, sources...), sources...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Every recording in testdata/recordings gives its golden result. To add a recording, put the file there and run with
// -update.
func TestCorpus(t *testing.T) {
	if *generate {
		for name, s := range scenes(t) {
			if err := os.WriteFile(filepath.Join(recordingtest.Corpus, name+".jsonl"), s.record(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for name, s := range largeScenes(t) {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(recordingtest.Corpus, name+".jsonl.zst"), z.EncodeAll(s.record(), nil), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, path := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := recording.Files(path)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, files...).JSON()
			golden := filepath.Join(recordingtest.Corpus, name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the result is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The recordings are what their scenes make, so that nobody changes one without the other.
func TestCorpusMatchesScenes(t *testing.T) {
	for name, s := range scenes(t) {
		file, err := os.ReadFile(filepath.Join(recordingtest.Corpus, name+".jsonl"))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(file, s.record()) {
			t.Errorf("%s.jsonl differs from its scene: run with -generate -update and look at the difference", name)
		}
	}
	for name, s := range largeScenes(t) {
		file, err := os.ReadFile(filepath.Join(recordingtest.Corpus, name+".jsonl.zst"))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(file) > 1<<20 {
			t.Errorf("%s has %d bytes, more than 1 MiB", name, len(file))
		}
		z, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := z.DecodeAll(file, nil); err != nil || !bytes.Equal(plain, s.record()) {
			t.Errorf("%s.jsonl.zst differs from its scene (%v): run with -generate -update and look at the difference", name, err)
		}
		z.Close()
	}
}

// caseRules has the rules that are shown only by recordings without a scene. Their names and notes tell what happened in
// a real case, and name no rule.
var caseRules = map[string]string{"R63": "case-stuck-starting", "R64": "case-unknown-state-word"}

// Every rule is in the name or the note of a recording, or in caseRules, or docs/replay.md says that no recording can
// show it.
func TestEveryRuleHasARecording(t *testing.T) {
	shown := map[string]bool{}
	recordings := corpus(t)
	for rule, name := range caseRules {
		if shown[rule] = recordings[name] != ""; !shown[rule] {
			t.Errorf("%s: there is no recording %s", rule, name)
		}
	}
	rule := regexp.MustCompile(`R[0-9]{2}`)
	for name, s := range scenes(t) {
		for _, r := range rule.FindAllString(name+" "+s.header.Note, -1) {
			shown[r] = true
		}
	}
	doc, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sentence, ok := strings.Cut(string(doc), "What no recording can show: ")
	if !ok {
		t.Fatal("docs/replay.md does not say what no recording can show")
	}
	sentence, _, _ = strings.Cut(sentence, "\n")
	for _, r := range diff.Rules() {
		if excepted := strings.Contains(sentence, r.ID); shown[r.ID] == excepted {
			t.Errorf("%s: a recording shows it: %t, docs/replay.md says that no recording can: %t", r.ID, shown[r.ID], excepted)
		}
	}
}
