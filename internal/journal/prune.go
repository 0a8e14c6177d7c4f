package journal

import (
	"time"

	"go.etcd.io/bbolt"
)

// pruneStep is how many events of a class one transaction removes at least, if there are too many. So even a much lower
// bound than before is reached in steps that take milliseconds.
const (
	pruneStep  = 1_000
	pruneEvery = 50 * time.Millisecond
)

// overQuota reports whether a class has more than may be kept.
func (j *Journal) overQuota() bool {
	q := quotas(j.opts.Entries, j.opts.MaxBytes)
	for c := range q {
		if j.meta.over(class(c), q[c]) {
			return true
		}
	}
	return false
}

func (m *meta) over(c class, q quota) bool {
	return m.entries[c] > uint64(q.entries) || m.bytes[c] > uint64(q.bytes)
}

// prune removes the oldest events of each class that has too many, at most limit of each. Bbolt uses the pages that
// become free again, so the file stops growing; compact makes it smaller.
func (j *Journal) prune(m *meta, buckets *[classes]*bbolt.Bucket, limit int) error {
	q := quotas(j.opts.Entries, j.opts.MaxBytes)
	for c, b := range buckets {
		cursor := b.Cursor()
		for range limit {
			if !m.over(class(c), q[c]) {
				break
			}
			k, v := cursor.First()
			if k == nil {
				m.entries[c], m.bytes[c] = 0, 0
				break
			}
			m.count(class(c), -1, len(v))
			if err := b.Delete(k); err != nil {
				return err
			}
		}
	}
	return nil
}
