package recording

import (
	"context"
	"errors"
	"io"

	"hm/internal/app"
)

// checkEvery is how many events EndOf reads between two checks of its context.
const checkEvery = 256

// EndOf reads a recording and returns the time of its newest event. It does not decode messages, and so is several
// times faster than a replay.
func EndOf(ctx context.Context, sources ...Source) (app.Time, error) {
	r, err := NewReader(sources...)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	end := app.TimeOf(r.Started())
	var e Event
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		switch err := r.Next(&e); {
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return 0, err
		}
		end = app.TimeOf(e.At)
	}
}
