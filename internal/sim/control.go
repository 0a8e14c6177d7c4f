package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

// maxControlBody bounds a control request.
const maxControlBody = 1 << 20

// controlHandler serves the control API. It asks for no password, so it listens on loopback only, and refuses requests
// that a web page of another site makes a browser send.
func (s *Sim) controlHandler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, fn func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
			v, err := fn(r)
			if err != nil {
				writeProblem(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json;charset=utf-8")
			_, _ = w.Write(append(wire.MustJSON(v), '\n'))
		})
	}
	handle("GET /state", func(*http.Request) (any, error) { return s.State(), nil })
	handle("GET /router", func(*http.Request) (any, error) { return s.routerView() })
	handle("GET /router/routes", func(r *http.Request) (any, error) {
		if s.Router == nil {
			return nil, errNoRouter
		}
		_, n, err := window(r, "from")
		return s.Router.Routes(r.URL.Query().Get("after"), n), err
	})
	handle("GET /apps/{guid}/stats", func(r *http.Request) (any, error) {
		guid, err := guidOf(r)
		if err != nil {
			return nil, err
		}
		return s.CC.Stats(r.Context(), guid)
	})
	handle("GET /faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("PUT /faults", func(r *http.Request) (any, error) {
		var f Faults
		if err := readBody(r, &f); err != nil {
			return nil, err
		}
		return f, s.SetFaults(f)
	})
	handle("GET /unrest", func(*http.Request) (any, error) { return s.Fleet.Unrest(), nil })
	handle("PUT /unrest", func(r *http.Request) (any, error) {
		var u fleet.Unrest
		if err := readBody(r, &u); err != nil {
			return nil, err
		}
		return u, s.Fleet.SetUnrest(u)
	})
	handle("GET /hm9000", func(*http.Request) (any, error) { return s.Neighbour(), nil })
	handle("PUT /hm9000", func(r *http.Request) (any, error) {
		var n Neighbour
		if err := readBody(r, &n); err != nil {
			return nil, err
		}
		err := s.SetNeighbour(n)
		return s.Neighbour(), err
	})
	handle("GET /commands", func(r *http.Request) (any, error) {
		since, n, err := window(r, "since")
		return s.CC.Commands(uint64(since), n), err
	})
	handle("GET /apps", func(r *http.Request) (any, error) {
		after, n, err := window(r, "after")
		return s.Apps(after, n), err
	})
	handle("POST /apps", func(r *http.Request) (any, error) {
		var spec cc.AppSpec
		if err := readBody(r, &spec); err != nil {
			return nil, err
		}
		row, err := s.CC.CreateApp(spec)
		return s.after(row, err)
	})
	handle("GET /apps/{guid}", func(r *http.Request) (any, error) {
		guid, err := guidOf(r)
		if err != nil {
			return nil, err
		}
		return s.App(guid)
	})
	handle("DELETE /apps/{guid}", func(r *http.Request) (any, error) {
		guid, err := guidOf(r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.CC.DeleteApp(guid)
	})
	handle("POST /apps/{guid}/{action}", s.controlApp)
	handle("GET /deas", func(r *http.Request) (any, error) {
		from, n, err := window(r, "from")
		return s.Fleet.DEAs(int(from), n), err
	})
	handle("POST /deas", func(r *http.Request) (any, error) {
		body := struct {
			Count int `json:"count"`
		}{1}
		if err := readBody(r, &body); err != nil {
			return nil, err
		}
		return s.Fleet.Add(body.Count)
	})
	handle("GET /deas/{id}", func(r *http.Request) (any, error) { return s.Fleet.DEA(r.PathValue("id")) })
	handle("POST /deas/{id}/{action}", s.controlDEA)
	return http.NewCrossOriginProtection().Handler(mux)
}

// controlApp changes an app, as users do, or makes it crash.
func (s *Sim) controlApp(r *http.Request) (any, error) {
	guid, err := guidOf(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Instances *int      `json:"instances"` // of scale
		Index     int       `json:"index"`     // of crash
		After     *Duration `json:"after"`     // of crash-loop
		Fail      bool      `json:"fail"`      // of restage and stage
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	switch action := r.PathValue("action"); action {
	case "scale":
		if body.Instances == nil {
			return nil, fmt.Errorf("%w: scale needs {\"instances\": n}", ErrInvalid)
		}
		return s.after(s.CC.ScaleApp(guid, *body.Instances))
	case "stop":
		return s.after(s.CC.StopApp(guid))
	case "start":
		return s.after(s.CC.StartApp(guid))
	case "restart":
		return s.after(s.CC.RestartApp(guid))
	case "restage":
		return s.after(s.CC.RestageApp(guid, body.Fail))
	case "stage":
		return s.after(s.CC.StageApp(guid, body.Fail))
	case "crash":
		return struct{}{}, s.Fleet.CrashInstance(guid, body.Index)
	case "crash-loop":
		after := s.opts.HeartbeatPeriod / 2
		if body.After != nil {
			after = time.Duration(*body.After)
		}
		return struct{}{}, s.Fleet.CrashLoop(guid, after)
	case "end-crash-loop":
		return struct{}{}, s.Fleet.EndCrashLoop(guid)
	default:
		return nil, fmt.Errorf("%w: action %.40q is none of scale, stop, start, restart, restage, stage, "+
			"crash, crash-loop, end-crash-loop", ErrInvalid, action)
	}
}

// after gives an app's state after a change.
func (s *Sim) after(row cc.Row, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return s.App(row.GUID)
}

// controlDEA acts on one DEA, or, if the id is "random", on ?count= of them.
func (s *Sim) controlDEA(r *http.Request) (any, error) {
	id, action := r.PathValue("id"), fleet.Action(r.PathValue("action"))
	if id != "random" {
		return []string{id}, s.Fleet.Act(id, action)
	}
	count := 1
	if text := r.URL.Query().Get("count"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("%w: count=%.40q is not a number", ErrInvalid, text)
		}
	}
	return s.Fleet.ActOnRandom(count, action)
}

func guidOf(r *http.Request) (app.GUID, error) {
	guid, err := app.ParseGUID(r.PathValue("guid"))
	if err != nil {
		return guid, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return guid, nil
}

// window reads where a list starts and its greatest length: ?<name>=0&limit=1000.
func window(r *http.Request, name string) (from int64, n int, err error) {
	n = 1000
	query := r.URL.Query()
	if text := query.Get(name); text != "" {
		if from, err = strconv.ParseInt(text, 10, 64); err != nil || from < 0 {
			return 0, 0, fmt.Errorf("%w: %s=%.40q is not a number from 0", ErrInvalid, name, text)
		}
	}
	if text := query.Get("limit"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > 100_000 {
			return 0, 0, fmt.Errorf("%w: limit=%.40q is not a number from 1 to 100000", ErrInvalid, text)
		}
	}
	return from, n, nil
}

// readBody decodes a JSON object and refuses unknown fields. Without a body v stays as it is.
func readBody(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("%w: body: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: body: more than one JSON value", ErrInvalid)
	}
	return nil
}

// writeProblem answers with an RFC 9457 problem document.
func writeProblem(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrInvalid):
		status = http.StatusBadRequest
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, wire.ErrClosed), errors.Is(err, ErrUnavailable):
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(wire.MustJSON(map[string]any{"title": http.StatusText(status), "status": status,
		"detail": err.Error()}))
}
