package watch

import (
	"context"

	"hm/internal/liveview"
)

// Once asks once, and returns the frame of the overview. It fails if no node answers.
func Once(ctx context.Context, o Options) (liveview.Frame, error) {
	w := newWatcher(o)
	if err := w.round(ctx); err != nil {
		return liveview.Frame{}, err
	}
	w.newestEvents(ctx, w.node().Client)
	return w.Frame(), nil
}
