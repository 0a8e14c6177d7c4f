package diff

import "slices"

//go:generate go test -run TestRulesDocument . -update

// Rule is one rule that hm decides by. Its texts write HB for one heartbeat period and use the words that the head of
// docs/rules.md explains.
type Rule struct {
	ID     string // R01 to R65
	Short  string // the rule in a line, as hm explain shows it
	By     string // who decides: ByFinding, or the package
	When   string // the situation
	Does   string // what hm does
	Timing string // when it does so; empty if it does nothing, or always
	HM9000 string // how HM9000 differed, and why hm departs from it; "same" if it did not
}

// ByFinding marks a rule whose id findings carry.
const ByFinding = "finding"

// Rules gives all rules, sorted by id.
func Rules() []Rule { return slices.Clone(rules[:]) }

// RuleText gives a rule in a line; empty if there is no such rule.
func RuleText(id string) string {
	for i := range rules {
		if rules[i].ID == id {
			return rules[i].Short
		}
	}
	return ""
}

var rules = [...]Rule{
	{
		ID: "R01", By: ByFinding, Short: "a desired index without an instance is started after the grace",
		When: "The app is wanted and staged, and nothing is live, crashed or evacuating at the index.",
		Does: "Start MISSING. Its priority is the share of the app's instances that is missing.",
		Timing: "After the grace (3 HB). If a start has no effect, the next one follows one keep time (3 HB) after it, " +
			"then 6, 12, 24, 48, 96, 96... HB, until hm hears anything of the index (W23).",
		HM9000: "Repeated the start every 4 to 12 HB, because it looked in passes only.",
	},
	{
		ID: "R02", By: "diff", Short: "a start is dropped when its index is live before it is due",
		When:   "The index becomes live before its start is due.",
		Does:   "Drop the start. A start that was sent is confirmed.",
		Timing: "At once.",
		HM9000: "Dropped it when it was due.",
	},
	{
		ID: "R03", By: "diff", Short: "a start is dropped when its index is no longer desired",
		When:   "A start is pending, and the app is stopped, deleted, or scaled below the index.",
		Does:   "Drop the start.",
		Timing: "When the read is recorded.",
		HM9000: "Dropped it when it was due.",
	},
	{
		ID: "R04", By: ByFinding, Short: "an app that was never heard is started like a missing one",
		When:   "The app is newly desired, and hm never heard of an instance of it.",
		Does:   "As R01, for every index, with priority 1.",
		Timing: "After the grace.",
		HM9000: "same",
	},
	{
		ID: "R05", By: ByFinding, Short: "a crashed index is restarted",
		When: "A crashed instance is at the index, and nothing is live there.",
		Does: "Start CRASHED. Each crash is counted once, when its restart is scheduled; every other crash that is " +
			"listed at the index then counts with it. Once another instance has been live there, the crashes before it " +
			"are answered: an instance that is missing later is R01.",
		Timing: "At once, or after the back-off (R07).",
		HM9000: "Told crashes apart by the DEA's clock, and counted a lost restart as a further crash. hm knows a crash " +
			"by its instance.",
	},
	{
		ID: "R06", By: ByFinding, Short: "if nothing of an app is live, only index 0 is restarted until something is",
		When:   "An index other than 0 has crashed, and no instance of the app is live.",
		Does:   "Wait until an instance of the app is live. A restart that is pending keeps its time and its place.",
		HM9000: "Sent a restart that was pending already. hm holds it, so that one broken app costs one start at a time.",
	},
	{
		ID: "R07", By: ByFinding, Short: "repeated crashes delay the restart, longer each time",
		When:   "An index crashes again and again.",
		Does:   "Delay the restart, by the number of crashes counted before it. hm never gives up.",
		Timing: "0, 0, 0, then 3, 6, 12, 24, 48, 96, 96... HB.",
		HM9000: "Same delays. In hm they also hold when the DEA has forgotten the crash (then for at least the grace); " +
			"HM9000 restarted without a delay.",
	},
	{
		ID: "R08", By: "diff", Short: "a crash series is forgotten after a long time without a restart",
		When:   "The index has not crashed for a long time.",
		Does:   "Forget the crash series. Before that, every 6 HB (twice `backoff_start`) of RUNNING take one crash off it.",
		Timing: "192 HB (twice `backoff_max`) after the last restart.",
		HM9000: "A healthy run counted for nothing, so that two bad half hours a day were one series.",
	},
	{
		ID: "R09", By: "diff", Short: "a crash while a start is outstanding is restarted at once, or after the keep time",
		When: "An index crashes while the start that made the instance is outstanding.",
		Does: "If a heartbeat showed the instance live, confirm the start and restart at once. If not, the restart " +
			"waits for the keep time.",
		Timing: "At once, or 3 HB after the start.",
		HM9000: "Restarted after 4 to 12 HB in any case.",
	},
	{
		ID: "R10", By: ByFinding, Short: "a crashed instance beside a live one is left alone",
		When:   "Crashed instances are beside a live one.",
		Does:   "Nothing: a crashed instance needs no stop.",
		HM9000: "same",
	},
	{
		ID: "R11", By: ByFinding, Short: "a crashed instance that is not desired needs no stop",
		When:   "Crashed instances are where nothing is desired.",
		Does:   "Nothing.",
		HM9000: "same",
	},
	{
		ID: "R12", By: ByFinding, Short: "an index that has a start scheduled gets no second one",
		When: "A start is pending at the index, and the reason to start changes.",
		Does: "Keep the start as it is: schedule no second one and count no crash. If an instance at the index is " +
			"evacuating, send the start at once.",
		Timing: "When the pending start is due.",
		HM9000: "An evacuation waited for the time of the pending start, too.",
	},
	{
		ID: "R13", By: ByFinding, Short: "nothing is started while an app is being staged",
		When:   "The app is wanted and not staged.",
		Does:   "Start nothing, and drop a pending start. Live instances stay; extra instances and duplicates are stopped.",
		Timing: "Until the app is staged.",
		HM9000: "Sent a start again that was pending when staging began.",
	},
	{
		ID: "R14", By: ByFinding, Short: "an app that failed to stage should not run",
		When:   "The app failed to stage.",
		Does:   "Stop live instances, EXTRA.",
		Timing: "At once, see R18.",
		HM9000: "same",
	},
	{
		ID: "R15", By: ByFinding, Short: "a stopped app should not run",
		When:   "The app is stopped.",
		Does:   "Stop live instances, EXTRA.",
		Timing: "At once, see R18.",
		HM9000: "same",
	},
	{
		ID: "R16", By: ByFinding, Short: "an app that the desired state does not have should not run",
		When:   "The app is not in a complete read.",
		Does:   "Stop live instances, EXTRA.",
		Timing: "At once, see R18. The guard holds the stops if much is gone at once (R58).",
		HM9000: "Had no guard.",
	},
	{
		ID: "R17", By: ByFinding, Short: "an instance of another version than the desired one should not run",
		When:   "An instance is of a version that is not the desired one.",
		Does:   "Stop it, EXTRA.",
		Timing: "At once, see R18. While an index of the desired version does not run, as R19.",
		HM9000: "Did not wait for the desired version.",
	},
	{
		ID: "R18", By: ByFinding, Short: "an instance beyond the desired number is stopped",
		When: "A live instance is at an index beyond the desired ones.",
		Does: "Stop it, EXTRA.",
		Timing: "At once, if a read of the desired state was begun after the app's newest instance appeared. Otherwise hm " +
			"asks for a read and waits for it: at least for the grace, and as long as a read is under way or reads fail. " +
			"A start waits in the same way if an instance of another version of the app has appeared since.",
		HM9000: "Did not wait: each of its passes began with a read. hm reacts between reads, and the Cloud Controller " +
			"starts instances before hm has read that they are wanted.",
	},
	{
		ID: "R19", By: ByFinding, Short: "a stop waits until every wanted index of the app runs, for a while",
		When: "The app has extra instances, and one of its wanted indices does not run.",
		Does: "The stop of an extra instance waits, because that instance may be all that serves.",
		Timing: "Until every wanted index runs, and at most 18 HB (`stop_yield`) after the stop was scheduled. With " +
			"`stop_yield: 0` it waits one grace, while a start of the app has not been sent yet.",
		HM9000: "Sent no stop in the pass that queued the start, and did not wait after that: the app was down until its " +
			"start took effect.",
	},
	{
		ID: "R20", By: ByFinding, Short: "of several live copies at an index the best stays, and the others go one by one",
		When: "Several instances are live at a desired index.",
		Does: "Stop all but one, DUPLICATE, one at a time. The one that stays: a RUNNING instance before a STARTING one, " +
			"then one that was not told to stop, then the one that was recorded first.",
		Timing: "The first after 4 graces (12 HB). Each further one a grace later, and not before the one before it is gone " +
			"or its keep time is over.",
		HM9000: "Queued a stop for each instance, and relied on its view at the time of sending to spare one. Two stops that " +
			"were due in one pass were both sent, and the app was down.",
	},
	{
		ID: "R21", By: ByFinding, Short: "all instances at an index beyond the desired number are stopped",
		When:   "Several instances are at an index that is not desired.",
		Does:   "Stop all of them, EXTRA.",
		Timing: "At once, see R18.",
		HM9000: "same",
	},
	{
		ID: "R22", By: "diff", Short: "a live instance beside crashed or evacuating ones is no duplicate",
		When:   "One live instance and crashed or evacuating ones are at an index.",
		Does:   "Do not treat the live instance as a duplicate.",
		HM9000: "same",
	},
	{
		ID: "R23", By: "internal/reconcile", Short: "an evacuating instance is evaluated as soon as a heartbeat shows it",
		When:   "A heartbeat shows an instance EVACUATING.",
		Does:   "Record it and evaluate the app; R24 to R29 decide.",
		Timing: "At once.",
		HM9000: "The listener sent a start itself, whatever was desired or live, and sent none after 60 of them.",
	},
	{
		ID: "R24", By: ByFinding, Short: "an evacuating instance that is not desired is stopped",
		When:   "An instance is evacuating at an index that is not desired, or is of an app that is not desired.",
		Does:   "Stop it, EXTRA. Do not replace it.",
		Timing: "At once, see R18. While a wanted index does not run, as R19.",
		HM9000: "same",
	},
	{
		ID: "R25", By: ByFinding, Short: "an evacuating instance of an app that is not staged is stopped",
		When: "An instance is evacuating, and its app is wanted and not staged.",
		Does: "Stop it, EVACUATION_COMPLETE, and send a start EVACUATING unless an instance is live at the index. (The " +
			"Cloud Controller will refuse that start.)",
		Timing: "At once.",
		HM9000: "same",
	},
	{
		ID: "R26", By: ByFinding, Short: "an evacuating instance whose replacement runs is stopped",
		When:   "An instance is evacuating, and another one is RUNNING at its index.",
		Does:   "Stop all evacuating instances at the index, EVACUATION_COMPLETE.",
		Timing: "At once.",
		HM9000: "same",
	},
	{
		ID: "R27", By: ByFinding, Short: "an evacuating instance waits for its replacement to run",
		When:   "An instance is evacuating, and another one is STARTING at its index.",
		Does:   "Wait until the other one runs.",
		HM9000: "same",
	},
	{
		ID: "R28", By: ByFinding, Short: "an evacuating instance at an index that has crashed is stopped and replaced at once",
		When:   "An instance is evacuating, nothing is live at its index, and a crash of the index is remembered (R08).",
		Does:   "Send a stop EVACUATION_COMPLETE and a start EVACUATING.",
		Timing: "At once.",
		HM9000: "Same, but it remembered the crash for longer.",
	},
	{
		ID: "R29", By: ByFinding, Short: "an evacuating instance is replaced at once and stays until then",
		When:   "An instance is evacuating, nothing is live at its index, and no crash is remembered.",
		Does:   "Start EVACUATING, before all other starts. The evacuating instance keeps serving.",
		Timing: "At once; again after the keep time.",
		HM9000: "same",
	},
	{
		ID: "R30", By: "diff", Short: "an evacuating index is not missing, but counts as missing for the app's priority",
		When: "An instance is evacuating at an index.",
		Does: "The index is not missing, but it counts as missing for the priority of the app's other starts. The " +
			"instance is not live for R06.",
		HM9000: "same",
	},
	{
		ID: "R31", By: "diff", Short: "an evacuating instance that is reported again gets no second start",
		When:   "A heartbeat reports an evacuating instance again.",
		Does:   "Schedule no second start.",
		HM9000: "same",
	},
	{
		ID: "R32", By: "diff", Short: "a crashed instance that is reported EVACUATING is treated as evacuating",
		When:   "A heartbeat reports a crashed instance as EVACUATING.",
		Does:   "Record it; R24 to R29 decide.",
		Timing: "At once.",
		HM9000: "same",
	},
	{
		ID: "R33", By: ByFinding, Short: "an instance that no heartbeat has shown is replaced if its DEA shuts down",
		When: "droplet.exited gives the reason DEA_SHUTDOWN or DEA_EVACUATION.",
		Does: "A recorded instance is recorded as EVACUATING; R24 to R29 decide. An instance that no heartbeat has shown is " +
			"replaced if its index is wanted and staged and nothing is live there.",
		Timing: "At once.",
		HM9000: "Sent a start whatever was desired or live, and sent it again for ever if it was refused.",
	},
	{
		ID: "R34", By: ByFinding, Short: "a crash that only droplet.exited told of is acted on at once",
		When: "droplet.exited gives the reason CRASHED.",
		Does: "A recorded instance is recorded as crashed. An instance that no heartbeat has shown counts as a crash of its " +
			"index if the index is wanted and nothing is live there, for as long as crashes are remembered (R08). For one time " +
			"to live no heartbeat makes the instance live again, because the heartbeat may be older than the exit. A crashed " +
			"instance never counts as the effect of its own restart. R05 to R07 decide what follows.",
		Timing: "At once (R07, R09, R12). The heartbeat that follows shows the same crash.",
		HM9000: "Ignored the exit until a heartbeat showed the crash. HealthManager 2.0 acted on it at once, and so does hm.",
	},
	{
		ID: "R35", By: "raftfsm", Short: "an exit with the reason STOPPED is ignored",
		When:   "droplet.exited gives the reason STOPPED.",
		Does:   "Nothing.",
		HM9000: "same",
	},
	{
		ID: "R36", By: "raftfsm", Short: "an exit with a reason that hm does not know is ignored",
		When:   "droplet.exited gives another reason.",
		Does:   "Nothing.",
		HM9000: "same",
	},
	{
		ID: "R37", By: "diff", Short: "an exit of another instance than the recorded one counts once, and only where nothing is live",
		When:   "droplet.exited names another instance than the one that is recorded at the index.",
		Does:   "Nothing, if an instance is live there or the crash is counted already. Otherwise as R34.",
		Timing: "At once.",
		HM9000: "Ignored it. HealthManager 2.0 counted it in any case, so that every old crash counted again when a DEA " +
			"restarted.",
	},
	{
		ID: "R38", By: "internal/reconcile", Short: "a delayed restart is verified again when it is due",
		When:   "A delayed restart becomes due.",
		Does:   "Verify it again, and send it if it still holds (R54).",
		Timing: "When it is due.",
		HM9000: "same",
	},
	{
		ID: "R39", By: "internal/reconcile", Short: "droplet.updated causes an early read of the desired state",
		When:   "A droplet.updated arrives.",
		Does:   "Read the desired state early. If a read is under way, start another one after it.",
		Timing: "Within the spacing of reads.",
		HM9000: "Ignored it.",
	},
	{
		ID: "R40", By: "actual", Short: "the instances of a DEA that is silent for every node are missing",
		When: "A DEA is silent for this node and for every other voter whose link is up. What a voter heard late counts from " +
			"when it was sent.",
		Does: "Remove its instances from the record; R01 decides.",
		Timing: "3 HB (`heartbeat_ttl`) after its last heartbeat. Time does not count while no DEA is heard, or while the " +
			"NATS link is down or late.",
		HM9000: "Same time to live, but looked in passes: 9 to 15 HB until the start.",
	},
	{
		ID: "R41", By: "raftfsm", Short: "an instance that its DEA no longer lists is missing",
		When: "A DEA no longer lists an instance.",
		Does: "Remove it from the record; R01 decides. An instance that an unreadable entry names, or that two entries " +
			"contradict each other about, stays as it is for one time to live (3 HB). A message that cannot be decoded " +
			"changes nothing; for twenty times to live it shows that its DEA is alive.",
		Timing: "At once. With the DEA's next heartbeat if another node has become leader, and the list may be older than " +
			"the record.",
		HM9000: "Same, but 6 to 12 HB until the start; one field of a wrong type refused the whole heartbeat.",
	},
	{
		ID: "R42", By: "internal/reconcile", Short: "a heartbeat that repeats what is recorded writes nothing",
		When:   "A heartbeat repeats what is recorded.",
		Does:   "Write nothing.",
		HM9000: "Compared the state only, and so missed a changed index, version or DEA.",
	},
	{
		ID: "R43", By: "actual", Short: "nothing is sent while the NATS link is new or late",
		When: "The NATS link has not been up for long enough, or it is late.",
		Does: "Send nothing.",
		Timing: "For 3 HB (`freshness`) after the link came up, after messages were lost, and after the first message that " +
			"a process hears. Also while a message that the node sends to itself over NATS takes longer than 1 HB.",
		HM9000: "Same length, for each store instead of for each node.",
	},
	{
		ID: "R44", By: "actual", Short: "nothing is sent after a silence of every DEA",
		When:   "No DEA was heard for one time to live, whether the link is up or not.",
		Does:   "Send nothing. What is known counts as after an outage: every time to live begins anew.",
		Timing: "For 3 HB (`freshness`) after the first message.",
		HM9000: "Same; its first message then expired nothing either.",
	},
	{
		ID: "R45", By: "internal/reconcile", Short: "nothing is sent while what was heard is not recorded yet",
		When:   "What was heard is not recorded yet.",
		Does:   "Send nothing.",
		Timing: "Until it is recorded.",
		HM9000: "Called itself fresh when only part of a fleet was recorded.",
	},
	{
		ID: "R46", By: "internal/cluster", Short: "nothing is recorded or sent while no entry can be committed",
		When:   "An entry cannot be committed.",
		Does:   "Record nothing and send nothing.",
		Timing: "Until a leader can commit.",
		HM9000: "Lost what it had heard.",
	},
	{
		ID: "R47", By: "internal/reconcile", Short: "a failed read of the desired state changes nothing",
		When:   "A read of the desired state fails.",
		Does:   "Change nothing. Send nothing once no complete read has succeeded for `desired.ttl` (12 HB).",
		HM9000: "Same, without the time limit: each pass read anew.",
	},
	{
		ID: "R48", By: "desired/bulk", Short: "the pages of a read that fails are discarded",
		When:   "A read fails after some pages.",
		Does:   "Discard the pages.",
		HM9000: "same",
	},
	{
		ID: "R49", By: "actual", Short: "nothing expires while the NATS link is lost",
		When:   "The NATS link is lost.",
		Does:   "Let nothing expire, and send nothing. Every time to live begins anew when the link returns.",
		HM9000: "Let instances expire while no DEA could be heard.",
	},
	{
		ID: "R50", By: "internal/reconcile", Short: "a command that cannot be published is abandoned or expires",
		When:   "A command cannot be published.",
		Does:   "Abandon it, or let it expire. What is still needed is scheduled anew.",
		Timing: "After the keep time.",
		HM9000: "Retried the same command in every pass, for ever.",
	},
	{
		ID: "R51", By: "commands", Short: "due commands have an order and a limit",
		When: "More is due than may be sent.",
		Does: "Send starts before stops; among them evacuations first, then what was due in an earlier HB, then the app that " +
			"misses the larger share. The rest waits.",
		Timing: "60 starts a HB (`start_limit`), stops by `stop_limit`.",
		HM9000: "Its limit was for each pass and for starts only; stops had no order.",
	},
	{
		ID: "R52", By: "diff", Short: "a sent command without effect expires after the keep time",
		When: "A sent command had no effect within its keep time.",
		Does: "Expire it. What is still needed is scheduled anew, and is due after the pause of R01. If the app was not " +
			"evaluated for a further grace, as behind a closed gate, it is due after a grace.",
		Timing: "3 HB after it was sent.",
		HM9000: "same",
	},
	{
		ID: "R53", By: "diff", Short: "a due stop is verified again before it is sent",
		When: "A stop is due.",
		Does: "Send it only if it is still found due for the same reason, and if the whole gate is open at the claim's entry " +
			"and again before the publish. Stops DUPLICATE and EVACUATION_COMPLETE carry is_duplicate. A stop whose instance " +
			"is gone is dropped.",
		Timing: "At the claim.",
		HM9000: "Treated an instance that it did not know as one at index 0.",
	},
	{
		ID: "R54", By: "diff", Short: "a due start is verified again before it is sent",
		When: "A start is due.",
		Does: "Send it only if it is still found due: the index is desired and staged, nothing is live there, and the " +
			"back-off is over.",
		Timing: "At the claim.",
		HM9000: "Verified neither staging nor back-off again.",
	},
	{
		ID: "R55", By: "diff", Short: "a stop is dropped when its instance becomes desired",
		When: "An undesired instance becomes desired before its stop is sent.",
		Does: "Drop the stop. If the instance is then one of several at its index, it gets a stop DUPLICATE with the delay " +
			"of one.",
		Timing: "When the read is recorded.",
		HM9000: "Dropped it when it was due.",
	},
	{
		ID: "R56", By: "raftfsm", Short: "the record of an app that is neither desired nor heard of is deleted",
		When:   "An app is neither desired nor heard of.",
		Does:   "Delete its record, with its crash series.",
		HM9000: "Deleted each record after a time to live of its own.",
	},
	{
		ID: "R57", By: "internal/reconcile", Short: "nothing is sent before the first complete read",
		When:   "Instances are heard, but no read is complete yet.",
		Does:   "Send nothing.",
		Timing: "Until the first complete read.",
		HM9000: "Same in effect.",
	},
	{
		ID: "R58", By: "internal/reconcile", Short: "a read that drops much of the desired state holds all commands",
		When: "A complete read drops much of what was desired, or all of it.",
		Does: "Record it, and hold (hold:desired-shrink). After a hold that ended by itself, hm sends in each HB at most as " +
			"many stops as a tenth of the number of apps, for 60 HB, unless `stop_limit` says otherwise (hold slow-stops).",
		Timing: "Until a person releases it, most of the apps are back, or 10 further reads agree, a poll interval apart.",
		HM9000: "Stopped everything at once.",
	},
	{
		ID: "R59", By: "internal/reconcile", Short: "two DEAs that use one id are found, and both their lists count",
		When: "Two DEAs use one id.",
		Does: "Find them by their lists, which alternate. Once instances come back after a list that had none of them, a " +
			"list replaces only the one that it is most like. Each list counts for one time to live, and longer while messages " +
			"arrive that cannot be decoded. An instance runs if one of the lists says so. This ends when only one of the two has " +
			"sent messages for one time to live.",
		Timing: "The lists replace each other once, and the start for an instance that is lost by that waits for the grace. " +
			"hm tells within about 4 HB that the id is used twice.",
		HM9000: "Their lists replaced each other, and evacuations had no grace.",
	},
	{
		ID: "R60", By: "internal/reconcile", Short: "a loss of a large share of the instances holds all commands",
		When: "A large share of the live instances that should run is lost within one time to live, without a successor, " +
			"because DEAs fall silent or list fewer instances. Or a large share of what is desired was not heard of in a whole " +
			"freshness window, after a node became leader or after a silence of every DEA, and is not recorded as lost.",
		Does: "Hold (hold:mass-loss, hold:first-picture). A further loss has a hold of its own, mass-loss-2.",
		Timing: "Until most of it is back and no more is lost for one time to live, a person releases it, or 30 HB have " +
			"passed. A new leader judges the losses that it inherits.",
		HM9000: "Sent a start for each lost instance, and had duplicates when they returned.",
	},
	{
		ID: "R61", By: "internal/cluster", Short: "a wall clock that jumps moves no deadline",
		When:   "A wall clock jumps.",
		Does:   "Nothing: deadlines are kept in hm time.",
		HM9000: "Everything was due, or nothing was.",
	},
	{
		ID: "R62", By: "internal/cluster", Short: "another node leads when the leader is lost",
		When:   "The leader is lost.",
		Does:   "Another node leads, with everything that was committed.",
		Timing: "Its gate opens when its own knowledge of the fleet is fresh.",
		HM9000: "The process ended, and a supervisor started another one.",
	},
	{
		ID: "R63", By: ByFinding, Short: "an instance that is STARTING for too long does not count as live",
		When:   "An instance has been STARTING for too long.",
		Does:   "It does not count as live: its index is R01. It is stopped, DUPLICATE, once another instance runs there.",
		Timing: "30 HB (`starting_ttl`) after it was recorded as STARTING; with 0, never.",
		HM9000: "Counted it as live for ever.",
	},
	{
		ID: "R64", By: ByFinding,
		Short: "an instance in a state that hm does not know is not live; no start is sent beside it for a while",
		When: "An instance is listed in a state that hm does not know, or in one in which it is on its way out (STOPPING, " +
			"STOPPED, DELETED).",
		Does: "Neither is live, and neither is stopped. No start is sent beside an instance in an unknown state; one on its " +
			"way out keeps no start away. An entry that names the app and no readable index is taken for the effect of a start " +
			"that was sent before the entry was first listed.",
		Timing: "For `starting_ttl` (30 HB) after it was first heard.",
		HM9000: "Ignored the entry, or the whole message, and sent a start beside it.",
	},
	{
		ID: "R65", By: ByFinding,
		Short: "with desired.filter, an instance of an app that has no row here is left alone",
		When: "`desired.filter` is set, and an instance runs of an app that has no row here, or of another version than the " +
			"row of an app that is gone: another cell may have it.",
		Does: "Nothing. An app that had a row here and is deleted, or moves to another cell, keeps the row, as STOPPED, until a " +
			"complete read finds nothing of that version alive. Until then R15 stops its instances.",
		HM9000: "Had no cells.",
	},
}
