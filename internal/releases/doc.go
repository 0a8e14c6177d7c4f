// Package releases has tests that read what every release of hm wrote: testdata/releases has a directory for each, which
// is never edited.
package releases
