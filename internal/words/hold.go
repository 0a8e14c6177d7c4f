package words

import (
	"fmt"
	"time"

	"hm/internal/api"
)

// Hold describes a hold in one line.
func Hold(b api.Basis, h api.Hold) string {
	text := h.Name
	if h.StopLimit > 0 {
		text += fmt.Sprintf(" (only limits stops, to %d in a heartbeat period)", h.StopLimit)
	}
	if h.Until.IsZero() {
		text += " until released"
	} else {
		text += " until " + h.Until.Format(time.RFC3339) + " (" + When(b, h.Until) + ")"
	}
	if h.By != "" {
		text += ", set by " + h.By
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}
