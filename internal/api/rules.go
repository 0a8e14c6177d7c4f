package api

// ruleTexts say in a line what each rule is about, for hm explain. The rules themselves are diff's.
var ruleTexts = map[string]string{
	"R01": "a desired index without an instance is started after the grace",
	"R04": "an app that was never heard is started like a missing one",
	"R05": "a crashed index is restarted",
	"R06": "if nothing of an app is live, only index 0 is restarted until something is",
	"R07": "repeated crashes delay the restart, longer each time",
	"R10": "a crashed instance beside a live one is left alone",
	"R11": "a crashed instance that is not desired needs no stop",
	"R12": "an index that has a start scheduled gets no second one",
	"R13": "nothing is started while an app is being staged",
	"R14": "an app that failed to stage should not run",
	"R15": "a stopped app should not run",
	"R16": "an app that the desired state does not have should not run",
	"R17": "an instance of another version than the desired one should not run",
	"R18": "an instance beyond the desired number is stopped",
	"R19": "a stop waits until every wanted index of the app runs, for a while",
	"R20": "of several live copies at an index the best stays, and the others go one by one",
	"R21": "all instances at an index beyond the desired number are stopped",
	"R24": "an evacuating instance that is not desired is stopped",
	"R25": "an evacuating instance of an app that is not staged is stopped",
	"R26": "an evacuating instance whose replacement runs is stopped",
	"R27": "an evacuating instance waits for its replacement to run",
	"R28": "an evacuating instance at an index that has crashed is stopped and replaced at once",
	"R29": "an evacuating instance is replaced at once and stays until then",
	"R33": "an instance that no heartbeat has shown is replaced if its DEA shuts down",
	"R34": "a crash that only droplet.exited told of is acted on at once",
	"R63": "an instance that is STARTING for too long does not count as live",
	"R64": "an instance in a state that hm does not know is not live; no start is sent beside it for a while",
}

// RuleText says in a line what a rule is about; empty if there is no such rule.
func RuleText(id string) string { return ruleTexts[id] }
