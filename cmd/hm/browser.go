//go:build !lean

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"
)

// browserCommand returns the program that opens an address in the user's browser.
func browserCommand(system string) (name string, args []string) {
	switch system {
	case "darwin":
		return "open", nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	}
	return "xdg-open", nil
}

// openBrowser opens an address in the user's browser. If that is not possible, it says so: the address is shown anyway.
// The function that it returns waits for the program that opens the browser; it ends the program if that hangs.
func openBrowser(url string, errs io.Writer) (wait func()) {
	ctx, cancel := context.WithCancel(context.Background())
	name, args := browserCommand(runtime.GOOS)
	cmd := exec.CommandContext(ctx, name, append(args, url)...)
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		fmt.Fprintf(errs, "hm: opening %s in a browser: %v\nhint: open the address yourself\n", url, err)
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // a browser that was not opened is seen by the user
	}()
	return func() {
		cancel()
		<-ended
	}
}
