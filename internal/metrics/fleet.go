package metrics

// The fleet: what should run, what runs, and the drift between them. The first ten have the names of HM9000.
var (
	AppsAllReporting = &Metric{Name: "hm_number_of_apps_with_all_instances_reporting", Type: Gauge, Unit: "apps",
		Help:   "Desired, staged apps with an instance, in any state, at every desired index.",
		Before: "HM9000 NumberOfAppsWithAllInstancesReporting",
		Do:     "Compare it with hm_number_of_desired_apps: the difference is the apps that users may miss instances of."}
	AppsMissing = &Metric{Name: "hm_number_of_apps_with_missing_instances", Type: Gauge, Unit: "apps",
		Help:   "Desired, staged apps with a desired index that has no instance at all.",
		Before: "HM9000 NumberOfAppsWithMissingInstances",
		Do:     "If it does not go down, look at `hm drift --kind missing` and at what the queue waits for."}
	UndesiredRunning = &Metric{Name: "hm_number_of_undesired_running_apps", Type: Gauge, Unit: "app versions",
		Help:   "App versions that are not desired and have a live instance.",
		Before: "HM9000 NumberOfUndesiredRunningApps",
		Do:     "Some during a deployment are normal. If it stays, look at `hm drift --kind undesired`."}
	Running = &Metric{Name: "hm_number_of_running_instances", Type: Gauge, Unit: "instances",
		Help:   "Live instances (STARTING or RUNNING), desired or not.",
		Before: "HM9000 NumberOfRunningInstances; Ruby running_instances",
		Do:     "A step down is a loss of DEAs or a change of what is desired: `hm events --since 1h` says which."}
	MissingIndices = &Metric{Name: "hm_number_of_missing_indices", Type: Gauge, Unit: "indices",
		Help:   "Indices of desired, staged apps without any instance.",
		Before: "HM9000 NumberOfMissingIndices; Ruby missing_instances",
		Do:     "If it does not go down, look at hm_queue_waiting_apps: it says what the starts wait for."}
	CrashedInstances = &Metric{Name: "hm_number_of_crashed_instances", Type: Gauge, Unit: "instances",
		Help:   "CRASHED instances, desired or not.",
		Before: "HM9000 NumberOfCrashedInstances; Ruby crashed_instances",
		Do:     "DEAs list a crashed instance for some time. hm_crashes_total says whether new ones come."}
	CrashedIndices = &Metric{Name: "hm_number_of_crashed_indices", Type: Gauge, Unit: "indices",
		Help:   "Indices with a CRASHED and no live instance.",
		Before: "HM9000 NumberOfCrashedIndices; Ruby flapping_instances",
		Do:     "These are down now. `hm drift --kind crashed` lists them with the time of the next start."}
	DesiredApps = &Metric{Name: "hm_number_of_desired_apps", Type: Gauge, Unit: "apps",
		Help:   "Desired, staged apps.",
		Before: "HM9000 NumberOfDesiredApps; Ruby total.started_apps",
		Do:     "A sudden fall means that the Cloud Controller answers wrongly or somebody deleted much; hm holds then."}
	DesiredInstances = &Metric{Name: "hm_number_of_desired_instances", Type: Gauge, Unit: "instances",
		Help:   "Instances of the desired, staged apps.",
		Before: "HM9000 NumberOfDesiredInstances; Ruby total.started_instances",
		Do:     "Use it for planning how many DEAs are needed."}
	PendingStaging = &Metric{Name: "hm_number_of_desired_apps_pending_staging", Type: Gauge, Unit: "apps",
		Help:   "Desired apps that are being staged.",
		Before: "HM9000 NumberOfDesiredAppsPendingStaging",
		Do:     "If it grows, staging is broken; hm starts nothing for these apps until they are staged."}

	ActualFresh = &Metric{Name: "hm_actual_fresh", Type: Gauge, Unit: "1 or 0",
		Help: "1 if what this node heard from the DEAs is fresh.", Before: "HM9000 gave -1 for all metrics instead",
		Do: "If it stays 0, look at hm_nats_connected and hm_heartbeats_received_total."}
	DesiredFresh = &Metric{Name: "hm_desired_fresh", Type: Gauge, Unit: "1 or 0",
		Help: "1 if the desired state was read completely not long ago.", Before: "HM9000 gave -1 for all metrics instead",
		Do: "If it is 0 on the leader, `hm status` shows the newest error of the read."}
	ReadAge = &Metric{Name: "hm_desired_read_age_seconds", Type: Gauge, Unit: "seconds",
		Help:   "Time since the newest complete read of the desired state began; missing if none is known.",
		Before: "Ruby bulk_update_loop_duration", When: "a complete read is known",
		Do: "Between two reads it grows to desired.poll_interval. At desired.ttl hm stops sending commands."}
	Instances = &Metric{Name: "hm_instances", Type: Gauge, Unit: "instances",
		Labels: []Label{{"state", "starting, running, crashed, evacuating"}},
		Help:   "Recorded instances by state.", Before: "Ruby running.*",
		Do: "Many in starting for long means that DEAs cannot start instances."}
	DEAs = &Metric{Name: "hm_deas", Type: Gauge, Unit: "DEAs",
		Help: "Recorded DEAs that are not gone.",
		Do:   "A fall that nobody planned is a loss of machines or of network: `hm deas` says which."}
	GoneDEAs = &Metric{Name: "hm_gone_deas", Type: Gauge, Unit: "DEAs",
		Help: "Recorded DEAs that fell silent.",
		Do:   "Look at `hm deas`: each has the time since when it is gone. hm forgets it in the end."}
	Drift = &Metric{Name: "hm_drift", Type: Gauge, Unit: "findings",
		Labels: []Label{{"kind", "missing, crashed, evacuating, extra, duplicate, undesired; foreign with desired.filter: what may be another cell's"}},
		Help:   "Findings by kind of drift.",
		Do:     "`hm drift --kind K` lists them. Drift that stays while the gate is open has a reason: `hm explain APP`."}
	DriftDue = &Metric{Name: "hm_drift_due", Type: Gauge, Unit: "findings",
		Help: "Findings that are acted on now.",
		Do:   "If it grows while the gate is open, a limit is too low: see hm_queue_late_seconds."}
	Crashes = &Metric{Name: "hm_crashes_total", Type: Counter, Unit: "crashes",
		Help: "Crashes of instances that were recorded since this node started.", Before: "Ruby crashed_instances",
		Do: "A storm of many apps at once is a broken service or stack, not the apps: `hm events --kind crash`."}
	PassSeconds = &Metric{Name: "hm_fleet_pass_seconds", Type: Gauge, Unit: "seconds",
		Help:   "How long the newest pass over the whole fleet for the API took.",
		Before: "Ruby analysis_loop_duration",
		Do:     "For planning. The pass runs for pages, lists and metrics; hm's decisions do not wait for it."}
)

var fleetSection = Section{Title: "The fleet",
	Text: "What should run, what runs, and the drift between them. HM9000 gave -1 for its ten figures while its data was not " +
		"fresh. hm always gives what is recorded; `hm_actual_fresh` and `hm_desired_fresh` say whether that is fresh. " +
		"Every node gives the same values, apart from moments: take the maximum over the nodes, not the sum.",
	Metrics: []*Metric{AppsAllReporting, AppsMissing, UndesiredRunning, Running, MissingIndices, CrashedInstances, CrashedIndices,
		DesiredApps, DesiredInstances, PendingStaging, ActualFresh, DesiredFresh, ReadAge, Instances, DEAs, GoneDEAs, Drift,
		DriftDue, Crashes, PassSeconds}}
