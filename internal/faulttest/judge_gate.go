package faulttest

// gate judges whether a node might send at all (I1, I4, I8).
func (j *judge) gate(c *Command) {
	p := &j.Policy
	for _, o := range j.Outages {
		if from := o.From + j.late(c.At, o.From); c.At > from && (o.Until == 0 || c.At < o.Until) {
			j.add("I4", c.At, "%s while NATS was down", j.name(c))
		} else if o.Until != 0 && c.At >= o.Until && c.At < o.Until+p.Freshness-j.late(c.At, o.Until) {
			j.add("I4", c.At, "%s only %s after NATS was back, the freshness window is %s", j.name(c), seconds(c.At-o.Until), seconds(p.Freshness))
		}
	}
	for _, s := range j.Paused {
		if c.At > s.From+j.late(c.At, s.From) && (s.Until == 0 || c.At < s.Until) {
			j.add("I1", c.At, "%s while hm was paused, since %s", j.name(c), seconds(c.At-s.From))
		}
	}
	if c.Node == "" {
		return
	}
	if c.LinkAge < p.Freshness-j.late(c.At, c.At-c.LinkAge) {
		j.add("I1", c.At, "%s over a link that was %s old, the freshness window is %s", j.name(c), seconds(c.LinkAge), seconds(p.Freshness))
	}
	for _, s := range j.Nodes[c.Node].CutOff {
		if since := c.At - s.From; s.holds(c.At) && since > p.Lease+j.late(c.At, s.From) {
			j.add("I1", c.At, "%s, which had not reached its peers for %s: its lease of %s was over", j.name(c), seconds(since), seconds(p.Lease))
		}
	}
}
