package liveview

// Action is what a key asks for.
type Action string

// What can be asked for.
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
	Quit         Action = "quit"

	PlayOrPause Action = "play-or-pause"
	Faster      Action = "faster"
	Slower      Action = "slower"
	Skip        Action = "skip"
)

// Key is a key of the live view.
type Key struct {
	Name   string // as the terminal calls it
	Action Action
	Help   string // short enough for the help at the bottom; empty: not told there
}

// Keys are keys in the order of the help.
type Keys []Key

// ActionOf gives what a key asks for, and false for one that asks for nothing.
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

// DevKeys are those of hm dev.
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
