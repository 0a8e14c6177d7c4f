//go:build race

package replay

func init() { underRace = true }
