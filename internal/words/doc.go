// Package words says in plain English what answers of the API mean. The terminal, the dashboard and hm top all use it,
// so that each explains the same thing in the same words. It is pure: it takes values of package api and returns text,
// or pieces of text that have a tone. Times are relative to the answer (api.Basis.At), never to a clock of its own.
package words
