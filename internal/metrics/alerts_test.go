package metrics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hm/internal/metrics"
	"hm/internal/metrics/metricstest"
)

const alertsDir = "../../contrib/prometheus"

// readYAML reads a file into a value, strictly.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestAlerts holds that every alert says what is wrong and where to read what to do, asks for metrics and labels that
// exist, and has a test in which it fires and one in which it is silent.
func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Record, Alert, Expr, For string
				Labels, Annotations      map[string]string
			}
		}
	}
	readYAML(t, alertsDir+"/alerts.yml", &file)
	var tests struct {
		RuleFiles          []string `yaml:"rule_files"`
		EvaluationInterval string   `yaml:"evaluation_interval"`
		Tests              []struct {
			Name, Interval string
			InputSeries    []struct{ Series, Values string } `yaml:"input_series"`
			AlertRuleTest  []struct {
				Alertname string
				Eval      string `yaml:"eval_time"`
				Expected  []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, alertsDir+"/tests.yml", &tests)
	fires, silent := map[string]int{}, map[string]int{}
	for _, test := range tests.Tests {
		for _, a := range test.AlertRuleTest {
			if len(a.Expected) > 0 {
				fires[a.Alertname]++
			} else {
				silent[a.Alertname]++
			}
		}
	}

	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(operations), -1) {
		anchors["docs/operations.md#"+anchor(heading[1])] = true
	}
	recorded := map[string]bool{}
	name, series := regexp.MustCompile(`^HM[A-Za-z0-9]+$`), regexp.MustCompile(`\b(?:[a-z_]+:)?hm_[a-z0-9_]+(?::[a-z0-9_]+)?`)
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			for _, s := range series.FindAllString(r.Expr, -1) {
				base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(s, "")
				if !recorded[s] && metrics.Find(s) == nil && (metrics.Find(base) == nil || metrics.Find(base).Type != metrics.Histogram) {
					t.Errorf("%s%s asks for %s, which neither the table of metrics nor a rule before it has", r.Record, r.Alert, s)
				}
			}
			if r.Record != "" {
				recorded[r.Record] = true
				continue
			}
			if !name.MatchString(r.Alert) || fires[r.Alert] == 0 || silent[r.Alert] == 0 {
				t.Errorf("the alert %s has %d tests in which it fires and %d in which it is silent, want both", r.Alert, fires[r.Alert], silent[r.Alert])
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
				t.Errorf("the alert %s has the severity %q", r.Alert, s)
			}
			if a := r.Annotations; a["summary"] == "" || !strings.HasSuffix(a["description"], ".") || !anchors[a["runbook_url"]] {
				t.Errorf("the alert %s has the summary %q, the description %q and the runbook %q", r.Alert, a["summary"], a["description"], a["runbook_url"])
			}
		}
	}
}

// TestAlertRules runs the tests of the alerts.
func TestAlertRules(t *testing.T) {
	metricstest.Promtool(t, nil, "check", "rules", alertsDir+"/alerts.yml")
	metricstest.Promtool(t, nil, "test", "rules", alertsDir+"/tests.yml")
}
