package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hm/internal/liveview"
	"hm/internal/watch"
)

// topFlags are the flags of hm top.
type topFlags struct {
	interval time.Duration
	once     bool
}

func newTopCommand(c *cli) *cobra.Command {
	var t topFlags
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the cluster live: the gate and why it is closed, the drift, what is being done about it",
		Long: `Watch a cluster on the terminal: the gate and why it is closed, how fresh the record is, the drift by
kind and how it came to it, the apps that drift most, the DEAs in trouble, the commands of each
heartbeat, what waits and for what, the nodes, and the newest events. Keys open an app's explanation,
its events or a DEA, filter and sort lists, and pause hm or release a hold after a confirmation; ?
lists them.

--addr may name several nodes, with commas between them. If one does not answer, hm top asks the
next; it prefers the node that leads. While none answers, it says since when, and marks what it knew
before.

--once prints one frame as plain text, as wide as the terminal or as COLUMNS says (else 100 columns).
It exits with 1 if no node answers.`,
		Example: "  hm top --addr http://10.0.0.1:5155,http://10.0.0.2:5155\n  hm top --once | head -20",
		Args:    cobra.NoArgs,
	}
	hasFormats(cmd, formatTable)
	r := c.remote(cmd)
	f := cmd.Flags()
	f.DurationVar(&t.interval, "interval", 2*time.Second, "how often to ask a node; events are shown as they happen")
	f.BoolVar(&t.once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.runTop(cmd.Context(), r, t) }
	return cmd
}

func (c *cli) runTop(ctx context.Context, r *remote, t topFlags) error {
	if t.interval < watch.MinInterval || t.interval > time.Hour {
		return fmt.Errorf("--interval %s: want %s to 1h", t.interval, watch.MinInterval)
	}
	if !t.once && !c.terminal() {
		return withHint(fmt.Errorf("hm top needs a terminal"), "hm top --once prints one frame, hm status -o json has the numbers")
	}
	o := watch.Options{Title: "hm top", Interval: t.interval, Timeout: min(r.timeout, watch.DefaultTimeout), By: whoAmI()}
	for addr := range strings.SplitSeq(c.addr, ",") {
		client, err := r.clientOf(strings.TrimSpace(addr), addrFlags)
		if err != nil {
			return err
		}
		defer client.Close()
		o.Nodes = append(o.Nodes, watch.Node{Addr: strings.TrimSpace(addr), Client: client})
	}
	if t.once {
		f, err := watch.Once(ctx, o)
		if err != nil {
			return explained(err, addrFlags)
		}
		width, height := c.printedSize()
		_, err = fmt.Fprintln(c.out, liveview.RenderScreen(f, liveview.Screen{Still: true}, width, height, liveview.Theme{}))
		return err
	}
	ctx, stop := untilHangup(ctx)
	defer stop()
	w := watch.Open(o)
	defer w.Close()
	return liveview.Show(ctx, c.liveTerminal(), w)
}

// Sizes of a printed frame, in columns and lines.
const (
	printedWidth  = 100
	printedHeight = 60
)

// printedSize returns the size of a frame that is printed: COLUMNS, or the terminal's width, or printedWidth. The height
// is a bound, which only a cluster in trouble reaches.
func (c *cli) printedSize() (width, height int) {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return min(n, 1000), printedHeight
	}
	if f, ok := c.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	return cmp.Or(width, printedWidth), printedHeight
}
