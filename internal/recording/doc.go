// Package recording has the format of recordings: what hm receives and reads, as JSON lines in the order of time.
// It reads and writes them, splits them into several files, replaces names in them, and imports other formats.
// docs/recording-format.md describes the format.
package recording
