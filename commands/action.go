package commands

// Action is what a command asks for.
type Action uint8

// The actions. Their numbers are recorded and never change.
const (
	None  Action = 0
	Start Action = 1
	Stop  Action = 2
)

// String gives the word used in JSON: none, start or stop.
func (a Action) String() string { return [...]string{"none", "start", "stop"}[min(a, 2)] }

// Reason is why a command is sent. The words are HM9000's.
type Reason uint8

// The reasons. Their numbers are recorded and never change.
const (
	ReasonMissing            Reason = 1
	ReasonCrashed            Reason = 2
	ReasonEvacuating         Reason = 3
	ReasonExtra              Reason = 4
	ReasonDuplicate          Reason = 5
	ReasonEvacuationComplete Reason = 6
)

var reasonWords = [...]string{"", "MISSING", "CRASHED", "EVACUATING", "EXTRA", "DUPLICATE", "EVACUATION_COMPLETE"}

// Valid reports whether r is one of the reasons above.
func (r Reason) Valid() bool { return r > 0 && int(r) < len(reasonWords) }

// String gives the reason's word in JSON.
func (r Reason) String() string {
	if int(r) < len(reasonWords) {
		return reasonWords[r]
	}
	return "UNKNOWN"
}
