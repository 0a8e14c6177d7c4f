package liveview

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// ViewModel is what the live view shows and what its keys act on. Its methods are safe for concurrent use.
type ViewModel interface {
	Frame() Frame             // what to draw now
	Keys() Keys               // the keys that do something now
	Do(a Action)              // starts an action and does not wait for it
	Changed() <-chan struct{} // receives when there is something new to draw
	Done() bool               // the live view has nothing more to show and ends
}

// Browser is a view model of a cluster of which a user can look at more, and which he can change.
type Browser interface {
	ViewModel
	Look(q Query)    // what the screen needs from now on; does not wait for it
	Change(c Change) // starts a change and does not wait for it
}

// Terminal is where the live view is shown.
type Terminal struct {
	In    io.Reader // the keys
	Out   io.Writer
	Theme Theme
}

// framesPerSecond bounds how often the terminal is drawn: a slow line must not fill up.
const framesPerSecond = 20

// Show draws the live view until ctx ends, a key quits, or the view model is done. It restores the terminal.
func Show(ctx context.Context, t Terminal, m ViewModel) error {
	program := &program{model: m, theme: t.Theme}
	opts := []tea.ProgramOption{tea.WithOutput(t.Out), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond)}
	if t.In != os.Stdin { // the library replaces an input that is no terminal, unless it is the default
		opts = append(opts, tea.WithInput(t.In))
	}
	if t.Theme.on { // the caller has looked at NO_COLOR; the library must not take the colours away
		opts = append(opts, tea.WithEnvironment(slices.DeleteFunc(os.Environ(), func(v string) bool {
			return strings.HasPrefix(v, "NO_COLOR=")
		})))
	}
	p := tea.NewProgram(program, opts...)
	// Quit, and not the end of the library's own context, restores the terminal.
	feeding, cancel := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for {
			select {
			case <-feeding.Done():
				p.Quit()
				return
			case <-m.Changed():
				p.Send(refresh{})
			}
		}
	}()
	_, err := p.Run()
	cancel()
	<-fed
	if err != nil {
		return &TerminalError{err}
	}
	return nil
}

// TerminalError says that a terminal cannot show the live view.
type TerminalError struct{ Err error }

func (e *TerminalError) Error() string { return "live view: " + e.Err.Error() }

func (e *TerminalError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *TerminalError) Hint() string { return "use --plain" }

// program is the live view for the terminal library. It starts no commands of the library, so that no goroutine
// outlives it.
type program struct {
	model         ViewModel
	theme         Theme
	screen        Screen
	width, height int
}

// refresh is the message that there is something new to draw.
type refresh struct{}

func (p *program) Init() tea.Cmd { return nil }

func (p *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		p.width, p.height = msg.Width, msg.Height
	case refresh:
		if p.model.Done() {
			return p, tea.Quit
		}
	case tea.PasteMsg:
		p.screen = p.screen.Paste(msg.Content)
	case tea.KeyPressMsg:
		return p, p.press(msg.String(), msg.Key().Text)
	}
	return p, nil
}

// press takes a key, and does what it asks for.
func (p *program) press(name, text string) tea.Cmd {
	asked := p.screen.Query()
	var effect Effect
	p.screen, effect = p.screen.Press(name, text, p.model.Frame(), p.width, p.height, p.model.Keys())
	if effect.Action == Quit {
		return tea.Quit
	}
	if effect.Action != "" {
		p.model.Do(effect.Action)
	}
	if b, ok := p.model.(Browser); ok {
		if q := p.screen.Query(); q != asked {
			b.Look(q)
		}
		if effect.Change != nil {
			b.Change(*effect.Change)
		}
	}
	return nil
}

func (p *program) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if p.width > 0 {
		v.SetContent(RenderScreen(p.model.Frame(), p.screen, p.width, p.height, p.theme))
	}
	return v
}
