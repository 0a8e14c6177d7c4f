package access

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Attempts limits how often wrong credentials may come from one address, so that nobody guesses a password. An address
// never counts for another one. It is not safe for concurrent use.
type Attempts struct {
	by map[netip.Prefix]attempts
}

// attempts are those that an address has left.
type attempts struct {
	left float64
	at   time.Time
}

// Limits on attempts.
const (
	// MaxAttempts is how many wrong credentials an address may send at once.
	MaxAttempts = 10
	// AttemptEvery is how long it takes until it may send one more.
	AttemptEvery = 6 * time.Second

	maxAddresses = 4096
)

// Wait gives how long an address must wait until it may try again; 0: it may.
func (a *Attempts) Wait(address string, now time.Time) time.Duration {
	one, known := a.by[prefixOf(address)]
	if !known {
		return 0
	}
	if left := one.now(now); left < 1 {
		return time.Duration((1 - left) * float64(AttemptEvery))
	}
	return 0
}

// Failed counts wrong credentials from an address.
func (a *Attempts) Failed(address string, now time.Time) {
	if a.by == nil {
		a.by = map[netip.Prefix]attempts{}
	}
	prefix := prefixOf(address)
	one, known := a.by[prefix]
	if !known {
		if len(a.by) >= maxAddresses {
			a.makeRoom(now)
		}
		one = attempts{left: MaxAttempts, at: now}
	}
	a.by[prefix] = attempts{left: max(one.now(now)-1, 0), at: now}
}

func (o attempts) now(now time.Time) float64 {
	return min(o.left+max(now.Sub(o.at), 0).Seconds()/AttemptEvery.Seconds(), MaxAttempts)
}

// makeRoom forgets the addresses that have all attempts left again. If none has, it forgets a quarter: those that have
// the most left.
func (a *Attempts) makeRoom(now time.Time) {
	type address struct {
		prefix netip.Prefix
		left   float64
	}
	var rest []address
	for p, one := range a.by {
		if left := one.now(now); left >= MaxAttempts {
			delete(a.by, p)
		} else {
			rest = append(rest, address{p, left})
		}
	}
	if len(a.by) < maxAddresses {
		return
	}
	slices.SortFunc(rest, func(x, y address) int { return cmp.Compare(y.left, x.left) })
	for _, one := range rest[:maxAddresses/4] {
		delete(a.by, one.prefix)
	}
}

// prefixOf gives what counts as one address: of IPv6 the network of 64 bits, since a machine has all of it. What is no
// address counts as one.
func prefixOf(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
