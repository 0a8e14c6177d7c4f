package main

// poke wakes the goroutine that receives from c, which has room for one value.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
