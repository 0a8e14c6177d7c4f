package liveview

import "time"

// Query is what a screen needs beside the status. The view model asks for it and keeps it up to date.
type Query struct {
	Page   Page
	ID     string // of the app or the DEA
	Order  string // of a list: one of its orders
	Filter string // of a list
}

// List is the answer to a query for a list.
type List[T any] struct {
	Query Query
	Items []T
	Total int       // items in the whole list; -1 if that is not known
	More  bool      // there are more than Items
	Error string    // why there is no answer; Items are then those of the last one
	At    time.Time // when it was answered, by the answering node's clock; zero: not yet
}

// of reports whether the list answers a query.
func (l List[T]) of(q Query) bool { return l.Query == q && (!l.At.IsZero() || l.Error != "") }

// Answer is the answer to a query for one thing.
type Answer[T any] struct {
	Query Query
	Value *T     // nil: not yet
	Error string // why there is no newer value
}

// order is one order of a list.
type order struct{ param, name string }

// The orders of the lists: what the API's parameter sort has, but for ByTrouble. The first of each is the one at the
// start.
var (
	appOrders = []order{{"-findings", "drift"}, {"-crashes", "crashes"}, {"-instances", "instances"}, {"", "guid"}}
	deaOrders = []order{{ByTrouble, "trouble"}, {"-silence", "silence"}, {"-instances", "instances"}, {"", "id"}}
)

// ByTrouble is the order of DEAs in which those that are not plainly heard come first.
const ByTrouble = "trouble"
