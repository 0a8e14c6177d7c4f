package configimport

import "time"

// The largest values that keys of hm take. A test compares them with the keys.
const (
	maxPeriod      = 10 * time.Minute // policy.heartbeat_period
	maxBulkTimeout = 10 * time.Minute // desired.bulk.timeout
	maxPing        = 5 * time.Minute  // nats.ping_interval
	maxBeats       = 10_000           // every number of heartbeats
	maxCrashes     = 1000             // policy.crashes_before_backoff
	maxBatch       = 100_000          // desired.bulk.batch_size
	maxStarts      = 10_000_000       // policy.start_limit
)
