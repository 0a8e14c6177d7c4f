package main

import (
	"context"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"

	"hm/internal/liveview"
)

// liveStage is what a live view shows and what its keys act on. Its methods are safe for concurrent use.
type liveStage interface {
	frame() liveview.Frame
	keys() liveview.Keys   // of the frame
	ask(a liveview.Action) // has something done; it does not wait for that
	news() <-chan struct{} // poked when there is something new to be drawn
	over() bool            // there is no more use in showing it
}

// showLive draws the live view until ctx ends, a key quits, or the stage is over.
func showLive(ctx context.Context, c *cli, s liveStage) error {
	m := &liveModel{stage: s}
	if c.color() {
		m.look = liveview.Colored()
	}
	opts := []tea.ProgramOption{tea.WithOutput(c.out), tea.WithoutSignalHandler()}
	if c.in != os.Stdin { // which the library would replace by the terminal if it is none
		opts = append(opts, tea.WithInput(c.in))
	}
	p := tea.NewProgram(m, opts...)
	// The program is asked to quit, rather than ended by its context, so that it restores the terminal in order.
	feeding, cancel := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for {
			select {
			case <-feeding.Done():
				p.Quit()
				return
			case <-s.news():
				p.Send(liveRefresh{})
			}
		}
	}()
	_, err := p.Run()
	cancel()
	<-fed
	if err != nil {
		return withHint(fmt.Errorf("live view: %w", err), "use --plain")
	}
	return nil
}

// liveModel is a live view as the terminal library sees it. It starts no commands, so that nothing outlives it.
type liveModel struct {
	stage         liveStage
	look          liveview.Look
	width, height int
}

// liveRefresh says that there is something new to be drawn.
type liveRefresh struct{}

func (m *liveModel) Init() tea.Cmd { return nil }

func (m *liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case liveRefresh:
		if m.stage.over() {
			return m, tea.Quit
		}
	case tea.KeyPressMsg:
		switch action, ok := m.stage.keys().ActionOf(msg.String()); {
		case !ok:
		case action == liveview.Quit:
			return m, tea.Quit
		default:
			m.stage.ask(action)
		}
	}
	return m, nil
}

func (m *liveModel) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if m.width > 0 {
		v.SetContent(liveview.Render(m.stage.frame(), m.width, m.height, m.look))
	}
	return v
}
