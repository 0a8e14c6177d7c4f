//go:build !linux

package faulttest

func mountSmall(string) error { return errUnavailable }

func unmount(string) error { return nil }

func fill(string) (func() error, error) { return nil, errUnavailable }
