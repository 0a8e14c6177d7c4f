package liveview

// Action is what a key does.
type Action string

// The actions of hm dev.
const (
	KillDEA      Action = "kill-dea"
	KillSeveral  Action = "kill-several"
	ReviveDEAs   Action = "revive-deas"
	EvacuateDEA  Action = "evacuate-dea"
	CrashOne     Action = "crash-instance"
	CrashLoop    Action = "crash-loop"
	ScaleUp      Action = "scale-up"
	ScaleDown    Action = "scale-down"
	UpdateApp    Action = "update-app"
	DeleteApp    Action = "delete-app"
	AddApp       Action = "add-app"
	ToggleNATS   Action = "toggle-nats"
	ToggleLeader Action = "toggle-leader"
	TogglePause  Action = "toggle-pause"
	ToggleBulk   Action = "toggle-bulk"
	Quit         Action = "quit" // of every live view
)

// The actions of a recording.
const (
	PlayOrPause Action = "play-or-pause"
	Faster      Action = "faster"
	Slower      Action = "slower"
	Skip        Action = "skip"
)

// The actions of a screen, which show something else and change nothing, but for the last two.
const (
	toOverview Action = "overview"
	toApps     Action = "apps"
	toDEAs     Action = "deas"
	toCommands Action = "commands"
	toEvents   Action = "events"
	toCluster  Action = "cluster"
	nextPage   Action = "next-page"
	previous   Action = "previous-page"
	rowUp      Action = "row-up"
	rowDown    Action = "row-down"
	screenUp   Action = "screen-up"
	screenDown Action = "screen-down"
	toFirst    Action = "first"
	toLast     Action = "last"
	openRow    Action = "open"
	toBack     Action = "back"
	editFilter Action = "filter"
	nextOrder  Action = "order"
	toDetail   Action = "events-of"
	allIndices Action = "all-indices"
	showHelp   Action = "help"
	askPause   Action = "pause-hm"
	askRelease Action = "release-hold"
)

// Key is a key of the live view.
type Key struct {
	Name   string // as the terminal library calls it
	Action Action
	Help   string // for the bottom line; empty: the key is not shown there
	Does   string // a sentence for the help; empty: an earlier key does the same
}

// Keys are keys in the order of the bottom line.
type Keys []Key

// ActionOf returns the action of a key, and false if it has none.
func (keys Keys) ActionOf(name string) (Action, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k.Action, true
		}
	}
	return "", false
}

// quitKeys end every live view.
var quitKeys = Keys{
	{"q", Quit, "quit", "ends the view; what runs goes on, but for hm dev and a replay"},
	{"ctrl+c", Quit, "", ""},
}

// pageKeys choose a page.
var pageKeys = Keys{
	{"1", toOverview, "overview", "shows everything that matters on one page"},
	{"2", toApps, "apps", "lists the apps, those with most drift first"},
	{"3", toDEAs, "DEAs", "lists the DEAs, those in trouble first"},
	{"4", toCommands, "commands", "lists the newest commands, and what became of them"},
	{"5", toEvents, "events", "lists what happened, the newest first"},
	{"6", toCluster, "cluster", "shows the nodes, the holds, and the link to NATS"},
}

// lookKeys look around on a page.
var lookKeys = Keys{
	{"tab", nextPage, "", "goes to the next page"},
	{"shift+tab", previous, "", "goes to the page before"},
	{"down", rowDown, "", "chooses the next row, or scrolls down"},
	{"j", rowDown, "", ""},
	{"up", rowUp, "", "chooses the row above, or scrolls up"},
	{"k", rowUp, "", ""},
	{"pgdown", screenDown, "", "goes a screen down"},
	{"ctrl+f", screenDown, "", ""},
	{"pgup", screenUp, "", "goes a screen up"},
	{"ctrl+b", screenUp, "", ""},
	{"home", toFirst, "", "goes to the first row"},
	{"g", toFirst, "", ""},
	{"end", toLast, "", "goes to the last row"},
	{"G", toLast, "", ""},
	{"enter", openRow, "open", "opens the chosen app or DEA"},
	{"right", openRow, "", ""},
	{"esc", toBack, "back", "goes back, or takes the filter away"},
	{"backspace", toBack, "", ""},
	{"left", toBack, "", ""},
	{"/", editFilter, "filter", "asks for a filter of the list"},
	{"o", nextOrder, "order", "sorts the list in another order"},
	{"v", toDetail, "events of it", "shows the events of the chosen app or DEA"},
	{"i", allIndices, "all indices", "of an app: also shows the indices that are as desired"},
	{"?", showHelp, "help", "shows the keys"},
}

// changeKeys ask for a change of the cluster. Each asks for a confirmation that says as whom it is recorded.
var changeKeys = Keys{
	{"p", askPause, "pause", "pauses hm on all nodes, or resumes it, after a confirmation"},
	{"x", askRelease, "release", "releases a hold, after a confirmation"},
}

// screenKeys are all keys of a screen of a cluster.
var screenKeys = append(append(append(append(Keys{}, pageKeys...), lookKeys...), changeKeys...), quitKeys...)

// DevKeys are the keys of hm dev.
var DevKeys = append(Keys{
	{"k", KillDEA, "kill DEA", "kills a DEA with all its instances"},
	{"K", KillSeveral, "kill several", "kills a quarter of the DEAs"},
	{"r", ReviveDEAs, "revive", "brings all DEAs back"},
	{"e", EvacuateDEA, "evacuate", "evacuates a DEA"},
	{"c", CrashOne, "crash", "crashes an instance"},
	{"C", CrashLoop, "crash loop", "crashes all instances of an app again and again, or ends that"},
	{"n", ToggleNATS, "NATS", "stops NATS, or starts it again"},
	{"l", ToggleLeader, "leader", "closes the node that leads for 10 s, or opens it again"},
	{"b", ToggleBulk, "bulk API", "lets the Cloud Controller's bulk API fail, or mends it"},
	{"p", TogglePause, "pause", "pauses hm, or resumes it"},
	{"s", ScaleUp, "scale up", "adds an instance to an app"},
	{"S", ScaleDown, "scale down", "takes an instance from an app"},
	{"u", UpdateApp, "update app", "gives an app a new version"},
	{"d", DeleteApp, "delete app", "deletes an app"},
	{"a", AddApp, "add app", "adds an app"},
}, quitKeys...)
