package api

import (
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Unreadable counts what the answering node cannot read: in the newest heartbeat of each DEA, and of its messages
// since the last one that could be decoded.
type Unreadable struct {
	DEAs          int `json:"deas"`           // DEAs with such entries or messages
	Entries       int `json:"entries"`        // entries that are left out
	Unplaced      int `json:"unplaced"`       // of these, those that name an app and lack a readable index or instance
	UnknownStates int `json:"unknown_states"` // entries in a state that hm does not know; they are not left out
	Messages      int `json:"messages"`       // messages that could not be decoded
}

// DEAUnreadable counts what the answering node cannot read in the messages of one DEA.
type DEAUnreadable struct {
	Entries       int       `json:"entries"`        // entries that are left out of its newest heartbeat
	Unplaced      int       `json:"unplaced"`       // of these, those that name an app and lack a readable index or instance
	UnknownStates int       `json:"unknown_states"` // entries in a state that hm does not know; they are not left out
	Since         Timestamp `json:"since"`          // since when every heartbeat has had such entries
	Messages      int       `json:"messages"`       // messages that could not be decoded, since the last one that could
	MessagesSince Timestamp `json:"messages_since"` // since when they could not be decoded
	Why           string    `json:"why"`            // what is wrong with one of them, for people
}

// UnplacedEntries counts the entries of heartbeats that name an app and lack a readable index or instance. They may be
// instances of the app.
type UnplacedEntries struct {
	Entries int       `json:"entries"` // how many there are
	Oldest  Timestamp `json:"oldest"`  // when the first of them was first heard
	Newest  Timestamp `json:"newest"`  // when the last of them was first heard
}

func unreadableOf(u reconcile.Unreadable) Unreadable {
	return Unreadable{DEAs: u.DEAs, Entries: u.Entries, Unplaced: u.Unplaced, UnknownStates: u.UnknownStates, Messages: u.Messages}
}

// addTrouble adds what cannot be read in the messages of a DEA to its item.
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
