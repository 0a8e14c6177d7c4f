package metrics

// Commands.
var (
	Pending = &Metric{Name: "hm_commands_pending", Type: Gauge, Unit: "commands",
		Labels: []Label{{"action", "start, stop"}},
		Help:   "Commands that are scheduled and not claimed yet.",
		Do:     "`hm commands` lists them with what each waits for."}
	Sent = &Metric{Name: "hm_commands_sent_total", Type: Counter, Unit: "commands",
		Labels: []Label{{"action", "start, stop"}, {"reason", "missing, crashed, evacuating; extra, duplicate, evacuation_complete"}},
		Help:   "Commands that any node has sent since this node started (HM9000's StartMissing to StopEvacuationComplete).",
		Before: "HM9000 StartMissing, StartCrashed, StartEvacuating, StopExtra, StopDuplicate, StopEvacuationComplete; Ruby health_start_messages_sent, health_stop_messages_sent",
		Do:     "Every node counts every command: take the maximum over the nodes of increase(), not the sum."}
	Ended = &Metric{Name: "hm_commands_ended_total", Type: Counter, Unit: "commands",
		Labels: []Label{{"action", "start, stop"}, {"reason", "MISSING, CRASHED, EVACUATING; EXTRA, DUPLICATE, EVACUATION_COMPLETE"},
			{"outcome", "confirmed, expired, dropped, abandoned"}},
		Help: "Commands that have ended since this node started.", When: "a command has ended",
		Do: "Many `expired` ones mean that nobody carries the commands out: look at the Cloud Controller and at free memory on the DEAs."}
)

var commandsSection = Section{Title: "Commands", Text: "What hm asked the Cloud Controller to start and to stop.",
	Metrics: []*Metric{Pending, Sent, Ended}}
