package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// figures are a node's metrics at one moment.
type figures map[string]*dto.MetricFamily

func (b *bench) figures(ctx context.Context, node int) (figures, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.apis[node]+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// value gives the sum of a counter or gauge over its labels.
func (f figures) value(name string) (sum float64) {
	for _, m := range f[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	}
	return sum
}

// spans is what a histogram has counted between two moments.
type spans struct {
	bounds []float64 // upper bounds of the buckets, in seconds
	counts []float64 // in each bucket alone
	total  float64
}

// since gives what the histogram has counted since an earlier moment, over all labels.
func (f figures) since(before figures, name string) spans {
	add := func(into map[float64]float64, fs figures, sign float64) {
		for _, m := range fs[name].GetMetric() {
			for _, bucket := range m.GetHistogram().GetBucket() {
				into[bucket.GetUpperBound()] += sign * float64(bucket.GetCumulativeCount())
			}
			into[math.Inf(1)] += sign * float64(m.GetHistogram().GetSampleCount()) * zeroIfListed(m)
		}
	}
	cumulative := map[float64]float64{}
	add(cumulative, f, 1)
	add(cumulative, before, -1)
	var s spans
	for bound := range cumulative {
		s.bounds = append(s.bounds, bound)
	}
	slices.Sort(s.bounds)
	last := 0.0
	for _, bound := range s.bounds {
		s.counts = append(s.counts, cumulative[bound]-last)
		last = cumulative[bound]
	}
	s.total = last
	return s
}

// zeroIfListed is 0 if a histogram lists its last bucket, and 1 if that follows from its count.
func zeroIfListed(m *dto.Metric) float64 {
	for _, bucket := range m.GetHistogram().GetBucket() {
		if math.IsInf(bucket.GetUpperBound(), 1) {
			return 0
		}
	}
	return 1
}

// within gives a time within which a share of what was counted stayed: the upper bound of a bucket.
func (s spans) within(share float64) string {
	if s.total == 0 {
		return "-"
	}
	seen := 0.0
	for i, n := range s.counts {
		if seen += n; seen >= share*s.total {
			if math.IsInf(s.bounds[i], 1) {
				return fmt.Sprintf("over %v", seconds(s.bounds[max(i-1, 0)]))
			}
			return seconds(s.bounds[i]).String()
		}
	}
	return "-"
}

// String gives the median, the 99th percentile and the worst.
func (s spans) String() string {
	return fmt.Sprintf("p50 <= %s, p99 <= %s, all <= %s (%.0f)", s.within(0.5), s.within(0.99), s.within(1), s.total)
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
}
