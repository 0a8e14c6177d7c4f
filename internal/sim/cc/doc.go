// Package cc simulates a Cloud Controller on a real NATS: its apps, its bulk API, and its respondent to the health
// manager's commands. It does not know the fleet of DEAs, which it meets in messages and through the interface Fleet.
//
// Apps are read from memory. With a database they are kept there, too, in the tables of a real Cloud Controller: each
// change is a transaction there before it counts here, so the bulk API and the tables say the same.
//
// Controller.mu is held while the database takes a change, for 5 s at most, and while a method of Fleet is called, but
// not while something is published.
package cc
