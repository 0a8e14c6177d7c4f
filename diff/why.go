package diff

// Why says what a finding waits for, or why nothing is done about it.
type Why uint8

// The explanations.
const (
	WhyNothing         Why = iota
	WhyGrace               // the grace has not passed yet
	WhyBackoff             // the index crashed too often lately
	WhySent                // a command was sent, and its time to take effect is not over
	WhyStaging             // the app is not staged: nothing can be started
	WhyCanary              // no instance of the app is live: only index 0 is started
	WhyStartsFirst         // the app's stops wait until every wanted index runs
	WhyOtherStop           // another copy at the index is being stopped
	WhyQuiet               // the DEA of an instance that would stay has missed a heartbeat
	WhyNewerRead           // an instance appeared after the newest read of the desired state was begun
	WhyReplacement         // the replacement is starting
	WhyDuplicateGrace      // duplicates are left alone at first: one may be on its way out
	WhyNoEffect            // starts of the index had no effect: the next one waits longer
	WhyUnknownState        // a DEA lists an instance at the index in a state that hm does not know
	WhyUnplaced            // a DEA lists an instance of the app at an index that hm cannot read
	WhyStuck               // the instance has been STARTING for too long to count as live
	WhyCrashedInstance     // a crashed instance needs no stop
	WhyOtherCell           // the app may be another cell's
	WhyGate                // due, but the gate is closed
)

var whyText = [...]string{
	WhyNothing:         "",
	WhyGrace:           "missing for less than the grace period",
	WhyBackoff:         "crashed repeatedly: restart is delayed",
	WhySent:            "the command was sent: waiting for its effect",
	WhyStaging:         "the app is not staged, so nothing can be started",
	WhyCanary:          "no instance of the app is live: only index 0 is tried until one is",
	WhyStartsFirst:     "the app's starts go before its stops",
	WhyOtherStop:       "another copy at this index is being stopped",
	WhyQuiet:           "the DEA of a copy that would stay has missed a heartbeat",
	WhyNewerRead:       "an instance appeared after the newest complete read of the desired state was begun",
	WhyReplacement:     "the replacement is starting",
	WhyDuplicateGrace:  "several copies: left alone until the duplicate grace has passed",
	WhyNoEffect:        "started before and never seen: the next try is delayed",
	WhyUnknownState:    "a DEA lists an instance here in a state that hm does not know",
	WhyUnplaced:        "a DEA lists an instance of the app whose index hm cannot read: it may be this one",
	WhyStuck:           "starting for too long: it does not count as live",
	WhyCrashedInstance: "crashed: there is nothing to stop",
	WhyOtherCell:       "left alone: no row here, and desired.filter is set: another cell may have it",
	WhyGate:            "due, but the gate is closed",
}

// String gives the explanation in words.
func (w Why) String() string { return whyText[min(int(w), len(whyText)-1)] }
