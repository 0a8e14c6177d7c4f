// Package notify wakes a goroutine that waits for work.
package notify

// Signal wakes the goroutine that receives from its channel. Several notifications before it wakes count as one, so
// the goroutine must look at everything that may have changed. A Signal may be copied; it is safe for concurrent use.
type Signal struct{ c chan struct{} }

// New makes a signal.
func New() Signal { return Signal{c: make(chan struct{}, 1)} }

// Notify wakes the receiver, or has its next receive return at once. It never blocks.
func (s Signal) Notify() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C is the channel to receive from.
func (s Signal) C() <-chan struct{} { return s.c }
