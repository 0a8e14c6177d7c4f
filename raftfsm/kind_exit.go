package raftfsm

import "hm/actual"

// InstanceExited is a droplet.exited message. A recorded instance becomes CRASHED or, when its DEA shuts down or
// evacuates, EVACUATING. A crash of an instance that was never recorded, at an index without a live instance, is
// noted as Exited in the index's crash record (R34).
type InstanceExited struct{ Exit actual.Exit }

// Kind is KindInstanceExited.
func (InstanceExited) Kind() Kind { return KindInstanceExited }
