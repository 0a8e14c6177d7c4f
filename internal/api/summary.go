package api

// Quorum returns how many voters a cluster has, how many of them are healthy, and how many must be.
func (c Cluster) Quorum() (voters, healthy, need int) {
	for _, n := range c.Nodes {
		if n.Voter {
			voters++
			if n.Healthy {
				healthy++
			}
		}
	}
	return voters, healthy, voters/2 + 1
}

// ActedOnNow reports whether hm sends a command for the drift now.
func (d DriftItem) ActedOnNow() bool { return d.Bucket == "start" || d.Bucket == "stop" }

// AsDesired reports whether an index is as desired and nothing else is recorded for it.
func (x ExplainedIndex) AsDesired() bool {
	for _, f := range x.Findings {
		if f.Bucket != "keep" || f.Rule != "" {
			return false
		}
	}
	return x.Crash == nil && len(x.Commands) == 0
}
