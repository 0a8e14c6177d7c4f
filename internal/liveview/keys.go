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

// Key is a key of the live view.
type Key struct {
	Name   string // as the terminal library calls it
	Action Action
	Help   string // for the bottom line; empty: the key is not shown there
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
	{"q", Quit, "quit"},
	{"ctrl+c", Quit, ""},
}

// DevKeys are the keys of hm dev.
var DevKeys = append(Keys{
	{"k", KillDEA, "kill DEA"},
	{"K", KillSeveral, "kill several"},
	{"r", ReviveDEAs, "revive"},
	{"e", EvacuateDEA, "evacuate"},
	{"c", CrashOne, "crash"},
	{"C", CrashLoop, "crash loop"},
	{"s", ScaleUp, "scale up"},
	{"S", ScaleDown, "down"},
	{"u", UpdateApp, "update"},
	{"d", DeleteApp, "delete"},
	{"a", AddApp, "add"},
	{"n", ToggleNATS, "NATS"},
	{"l", ToggleLeader, "leader"},
	{"p", TogglePause, "pause"},
	{"b", ToggleBulk, "bulk API"},
}, quitKeys...)
