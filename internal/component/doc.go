// Package component shows a node to the collectors that a Cloud Foundry had before Prometheus. As a component of the
// type HealthManager or HM9000 it announces itself on NATS, answers those who look for components (N47), and serves
// /healthz and /varz over HTTP, with user name and password of its own: they travel over NATS in clear.
//
// What the members of /varz mean is in docs/collectors.md.
package component
