// Package ptytest gives tests a pseudo-terminal, on Linux.
package ptytest
