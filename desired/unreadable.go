package desired

import "fmt"

// A complete read may have a few unreadable rows: the recorded rows of their apps stay. More of them mean that the
// source has another form than hm knows.
const (
	unreadableRows  = 10
	unreadableShare = 100 // or one row in this many
)

// CheckUnreadable returns an error if too many of a read's rows are unreadable. first says why the first of them is.
func CheckUnreadable(unreadable, rows int, first error) error {
	if unreadable <= max(unreadableRows, rows/unreadableShare) {
		return nil
	}
	return fmt.Errorf("%d of %d rows are unreadable (the first one: %w); "+
		"the recorded desired state stays until hm can read them", unreadable, rows, first)
}
