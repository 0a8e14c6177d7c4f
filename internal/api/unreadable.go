package api

import (
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Unreadable sums up what the answering node cannot read of what the DEAs say: of their newest heartbeats, or of their
// messages since the last one that could be decoded.
type Unreadable struct {
	DEAs          int `json:"deas"`           // with entries or messages that cannot be read
	Entries       int `json:"entries"`        // left out
	Unplaced      int `json:"unplaced"`       // of these, those that name an app, and lack an index or an instance
	UnknownStates int `json:"unknown_states"` // not left out, in a state that hm does not know
	Messages      int `json:"messages"`       // that could not be decoded
}

// DEAUnreadable is what the answering node cannot read of what one DEA says.
type DEAUnreadable struct {
	Entries       int       `json:"entries"`        // of its newest heartbeat that are left out
	Unplaced      int       `json:"unplaced"`       // of these, those that name an app, and lack an index or an instance
	UnknownStates int       `json:"unknown_states"` // not left out, in a state that hm does not know
	Since         Timestamp `json:"since"`          // since when each heartbeat has had such entries
	Messages      int       `json:"messages"`       // that could not be decoded, since the last one that could
	MessagesSince Timestamp `json:"messages_since"`
	Why           string    `json:"why"` // what is wrong with one of them, for people
}

// UnplacedEntries are what DEAs list of an app without an index or an instance that can be read. They may be instances
// of it.
type UnplacedEntries struct {
	Entries int       `json:"entries"`
	Oldest  Timestamp `json:"oldest"` // when the first and the last of them were first heard
	Newest  Timestamp `json:"newest"`
}

func unreadableOf(u reconcile.Unreadable) Unreadable {
	return Unreadable{DEAs: u.DEAs, Entries: u.Entries, Unplaced: u.Unplaced, UnknownStates: u.UnknownStates, Messages: u.Messages}
}

// trouble adds to a DEA what of its words cannot be read.
func (s *Server) addTrouble(n snapshot, d raftfsm.DEA, item *DEA) {
	t, any := s.opts.Loop.Trouble(d.ID)
	if !any {
		return
	}
	item.DoubledSince = n.wall.Time(t.Doubled)
	if t.Entries+t.UnknownStates+t.Messages == 0 {
		return
	}
	item.Unreadable = &DEAUnreadable{
		Entries: t.Entries, Unplaced: t.Unplaced, UnknownStates: t.UnknownStates, Since: n.wall.Time(t.Since),
		Messages: t.Messages, MessagesSince: n.wall.Time(t.MessagesSince), Why: t.Why,
	}
}

func unplacedOf(n snapshot, since []app.Time) *UnplacedEntries {
	if len(since) == 0 {
		return nil
	}
	return &UnplacedEntries{Entries: len(since), Oldest: n.wall.Time(since[0]), Newest: n.wall.Time(since[len(since)-1])}
}
